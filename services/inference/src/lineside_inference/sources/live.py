"""What the cameras with a reader share: the newest frame, its age against the trigger, warm-up, state, counts."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter

from lineside.connections import Connection
from lineside_inference.deadline import Deadline
from lineside_inference.errors import CameraFailed, CameraStale
from lineside_inference.settings import CameraSettings
from lineside_inference.sources.frame import Frame
from lineside_inference.sources.newest import Newest

LEAST_SILENCE_S = 2.0
"""A stream is opened again when it was silent for its timeout, and at least for so long."""


class Camera(ABC):
    """One configured camera; `supervise` runs for the service's whole life."""

    def __init__(self, name: str, settings: CameraSettings, connection: Connection) -> None:
        self.name = name
        self.settings = settings
        self.connection = connection
        self.frames: Counter[str] = Counter({"kept": 0, "skipped": 0, "discarded": 0, "refused": 0})
        """Frames by what became of them: kept; skipped above most_fps; discarded in warm-up; refused as unusable."""

    @abstractmethod
    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return a frame not older than the trigger; raises CameraFailed, CameraTimeout or CameraStale."""

    @abstractmethod
    async def supervise(self) -> None:
        """Connect, and connect again, for ever."""

    def newest_age_s(self) -> float | None:
        """Return the age of the newest frame in seconds, or None where there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - not every camera holds something
        """Give back what is held."""


def look_at(settings: CameraSettings) -> str:
    """Return what a person looks at where a camera of this kind is away."""
    if settings.path is None:
        password = "; and its password file" if settings.password_file else ""
        return f"See its address, cable and power{password}"
    kind = {"directory": "folder"}.get(settings.kind, "device" if str(settings.path).startswith("/dev/") else "file")
    plugged = "is plugged in" if kind == "device" else "is there"
    return f"See whether the {kind} {settings.path} {plugged}, and whether this service's user may read it"


class LiveCamera(Camera):
    """A camera whose reader keeps the newest frame."""

    def __init__(self, name: str, settings: CameraSettings, connection: Connection) -> None:
        super().__init__(name, settings, connection)
        self._newest = Newest()
        self._warm_after = settings.warmup_frames

    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return the newest frame, or wait for one that is not older than the trigger."""
        oldest = trigger - self.settings.allow_older_ms / 1000
        frame = self._newest.frame
        if frame is not None and frame.clock >= oldest:
            return frame
        allowed = min(self.settings.timeout_ms / 1000, deadline.left())
        if self.connection.away_for() > allowed:  # it cannot be back in time: the cause is said at once
            raise self._nothing_newer(0.0, trigger)
        try:
            async with asyncio.timeout(allowed):
                return await self._newest.since(oldest)
        except TimeoutError:
            raise self._nothing_newer(allowed, trigger) from None

    def newest_age_s(self) -> float | None:
        """Return the age of the newest frame in seconds, or None where there is none."""
        frame = self._newest.frame
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
        self._newest.put(frame)

    @property
    def silence_s(self) -> float:
        """After how many seconds without a frame the connection counts as lost."""
        return max(LEAST_SILENCE_S, self.settings.timeout_ms / 1000)

    def _nothing_newer(self, waited: float, trigger: float) -> CameraFailed | CameraStale:
        link, frame = self.connection, self._newest.frame
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
