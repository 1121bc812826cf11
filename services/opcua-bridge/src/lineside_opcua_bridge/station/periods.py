"""A clock's ticks on a fixed grid: they do not drift, and those that nobody could serve are counted, not made up for.

All times are seconds of a monotonic clock, handed in.
"""


class Grid:
    """The ticks `start + every`, `start + 2 * every` and so on. `every` in seconds, above 0."""

    def __init__(self, start: float, every: float) -> None:
        self._start = start
        self._every = every
        self._place = 1

    @property
    def due(self) -> float:
        """When the next tick is."""
        return self._start + self._place * self._every

    def take(self, now: float) -> int:
        """Take the tick that is due; return how many after it have passed by `now` and are left out."""
        missed = max(0, int((now - self.due) / self._every))
        self._place += 1 + missed
        return missed
