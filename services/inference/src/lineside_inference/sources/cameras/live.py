"""What the cameras that send all the time share: the newest frame, its age against the trigger, warm-up, frame rate."""

import asyncio

from lineside.connections import Connection
from lineside_inference.deadline import Deadline
from lineside_inference.errors import CameraFailed, CameraStale
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras.camera import Camera, look_at

LEAST_SILENCE_S = 2.0
"""A stream is opened again when it was silent for its timeout, and at least for so long."""


class FrameRate:
    """Says whether a frame is due, at `max_fps` frames a second; one that comes a little early by jitter is kept."""

    def __init__(self, max_fps: float) -> None:
        self._period = 1 / max_fps
        self._next = 0.0

    def is_due(self, clock: float) -> bool:
        """Return whether a frame of this instant, of time.monotonic(), may be kept, and count it as kept."""
        if clock < self._next:
            return False
        self._next = max(self._next + self._period, clock)
        return True


class LiveCamera(Camera):
    """A camera whose reader keeps the newest frame."""

    def __init__(self, name: str, settings: CameraSettings, connection: Connection) -> None:
        super().__init__(name, settings, connection)
        self._newest: Frame | None = None
        self._has_newer = asyncio.Event()
        self._warm_after = settings.warmup_frames

    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return the newest frame, or wait for one that is not older than the trigger."""
        oldest = trigger - self.settings.allow_older_ms / 1000
        frame = self._newest
        if frame is not None and frame.clock >= oldest:
            return frame
        allowed = min(self.settings.timeout_ms / 1000, deadline.left())
        if self.connection.away_for() > allowed:  # it cannot be back in time: the cause is said at once
            raise self._nothing_newer(0.0, trigger)
        try:
            async with asyncio.timeout(allowed):
                return await self._newer_than(oldest)
        except TimeoutError:
            raise self._nothing_newer(allowed, trigger) from None

    def newest_age_s(self) -> float | None:
        """Return the age of the newest frame in seconds, or None where there is none."""
        frame = self._newest
        return None if frame is None else frame.age_ms() / 1000

    def connected(self) -> None:
        """Say that a new connection begins: the warm-up counts from here."""
        self._warm_after = self.settings.warmup_frames

    def deliver(self, frame: Frame) -> None:
        """Take a frame from the reader; call it in the event loop's thread."""
        if self._warm_after > 0:
            self._warm_after -= 1
            self.frames["discarded"] += 1
            return
        if not self.connection.is_online:
            self.connection.online()
        self.frames["kept"] += 1
        self._newest = frame
        self._has_newer.set()
        self._has_newer = asyncio.Event()

    @property
    def silence_s(self) -> float:
        """After how many seconds without a frame the connection counts as lost."""
        return max(LEAST_SILENCE_S, self.settings.timeout_ms / 1000)

    async def _newer_than(self, clock: float) -> Frame:
        """Return the newest frame once it is not older than `clock`, of time.monotonic()."""
        while self._newest is None or self._newest.clock < clock:
            await self._has_newer.wait()
        return self._newest

    def _nothing_newer(self, waited: float, trigger: float) -> CameraFailed | CameraStale:
        link, frame = self.connection, self._newest
        if not link.is_online:
            detail = f": {link.detail}" if link.detail else ""
            return CameraFailed(f"camera {self.name!r} is away ({link.state}{detail})", remedy=look_at(self.settings))
        newest = "it has shown none yet"
        if frame is not None:
            newest = f"its newest is {(trigger - frame.clock) * 1000:.0f} ms older than the trigger"
        return CameraStale(
            f"camera {self.name!r} showed no newer frame within {waited * 1000:.0f} ms; {newest}",
            remedy=f"See whether it still sends; inference.cameras.{self.name}.allow_older_ms allows older ones",
        )
