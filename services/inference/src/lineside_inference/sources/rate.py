"""How many frames of a camera are kept a second."""


class FrameRate:
    """Says whether a frame is due; a frame that comes a little early by jitter is not lost."""

    def __init__(self, most_fps: float) -> None:
        self._period = 1 / most_fps
        self._next = 0.0

    def is_due(self, clock: float) -> bool:
        """Return whether a frame of this instant may be kept, and count it as kept."""
        if clock < self._next:
            return False
        self._next = max(self._next + self._period, clock)
        return True
