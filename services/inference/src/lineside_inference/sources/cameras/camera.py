"""What every kind of camera has: a name, settings, a connection whose state is shown, and `grab`."""

from abc import ABC, abstractmethod
from collections import Counter

from lineside.connections import Connection
from lineside_inference.deadline import Deadline, Trigger
from lineside_inference.settings import CameraSettings
from lineside_inference.sources import Frame


class Camera(ABC):
    """One configured camera; `supervise` runs for the service's whole life."""

    def __init__(self, name: str, settings: CameraSettings, connection: Connection) -> None:
        self.name = name
        self.settings = settings
        self.connection = connection
        self.frames: Counter[str] = Counter({"kept": 0, "skipped": 0, "discarded": 0, "refused": 0})
        """Frames by what became of them: kept; skipped above most_fps; discarded in warm-up; refused as unusable."""
        self.transport: Counter[str] = Counter()
        """What the network did to the frames, and how often control was lost; counted for genicam only."""
        self.temperature: float | None = None
        """Degrees Celsius as the camera told them last; None where it tells none, or is away."""
        self.matching: Counter[str] = Counter()
        """Frames and parts by what came of both; counted where the line fires the camera."""
        self.clock_error_s: float | None = None
        """By how much the newest frame's instant may be wrong; None where frames have no instant of their own."""
        self.trigger_offset_s: float | None = None
        """By how much the newest frame that was given to a part was exposed later than expected."""

    @abstractmethod
    async def grab(self, trigger: float, deadline: Deadline) -> Frame:
        """Return a frame not older than the trigger; raises CameraFailed, CameraTimeout or CameraStale."""

    async def grab_for(self, trigger: Trigger, deadline: Deadline) -> Frame:
        """Return the frame of the part that was triggered so: one not older, unless the line fires the camera."""
        return await self.grab(trigger.clock, deadline)

    @abstractmethod
    async def supervise(self) -> None:
        """Connect, and connect again, for ever."""

    def newest_age_s(self) -> float | None:
        """Return the age of the newest frame in seconds, or None where there is none."""
        return None

    def close(self) -> None:  # noqa: B027 - not every camera holds something
        """Close connections and files."""


def look_at(settings: CameraSettings) -> str:
    """Return what to check where a camera of this kind is away, as a remedy."""
    if settings.device is not None:
        return "`lineside camera list` shows which cameras answer"
    if settings.path is None:
        password = "; and its password file" if settings.password_file else ""
        return f"See its address, cable and power{password}"
    kind = {"directory": "folder"}.get(settings.kind, "device" if str(settings.path).startswith("/dev/") else "file")
    plugged = "is plugged in" if kind == "device" else "is there"
    return f"See whether the {kind} {settings.path} {plugged}, and whether this service's user may read it"
