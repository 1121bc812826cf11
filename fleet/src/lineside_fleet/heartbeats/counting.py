"""The latest heartbeat of each device; what cannot be counted is told, and counts nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lineside.heartbeats import Heartbeat, parse

AHEAD_S = 300.0
"""A heartbeat from further in the future than this is not believed: it would make its device connected for ever."""
TOLD = 20
"""So many faults are told one by one; the rest is counted."""
_SHOWN = 300


@dataclass
class Latest:
    """A device's latest heartbeat, and the boxes that were seen under its name."""

    heartbeat: Heartbeat
    moment: float
    boxes: dict[str, float]
    """When each box was last heard, by its BoxId."""


@dataclass
class Counted:
    """What was read."""

    devices: dict[tuple[str, str], Latest] = field(default_factory=dict)
    """By fleet and device."""
    read: int = 0
    repeated: int = 0
    """Heartbeats that came more than once, as a queue of at least once and overlapping files have them."""
    left_out: int = 0
    faults: list[str] = field(default_factory=list)
    """The first of what was left out, each with its place."""

    @property
    def fleets(self) -> list[str]:
        """The fleets that the heartbeats name."""
        return sorted({fleet for fleet, _device in self.devices})

    def of_fleet(self, name: str) -> Mapping[str, Latest]:
        """Return the devices of a fleet by name."""
        return {device: latest for (fleet, device), latest in sorted(self.devices.items()) if fleet == name}

    @property
    def latest(self) -> Mapping[str, Latest]:
        """Return the devices of all fleets by name; of one that is in several, the latest."""
        found: dict[str, Latest] = {}
        for (_fleet, device), latest in sorted(self.devices.items()):
            if device not in found or latest.moment > found[device].moment:
                found[device] = latest
        return found

    def take(self, text: bytes, place: str, now: float, arrived: float | None = None) -> None:
        """Count one heartbeat; `place` is where it stands, `arrived` when it came, where somebody looked at a clock."""
        if not text.strip():
            return
        try:
            heartbeat = parse(text)
            moment = _when(heartbeat, now, arrived)
        except ValueError as error:
            self.leave_out(f"{place}: {error}")
            return
        self.read += 1
        self._count(heartbeat, moment)

    def leave_out(self, why: str) -> None:
        """Count what cannot be read."""
        self.left_out += 1
        if len(self.faults) < TOLD:
            self.faults.append(why if len(why) <= _SHOWN else f"{why[:_SHOWN]}...")

    def _count(self, heartbeat: Heartbeat, moment: float) -> None:
        known = self.devices.get((heartbeat.DeviceFleetName, heartbeat.DeviceName))
        box = heartbeat.BoxId
        if known is None:
            key = heartbeat.DeviceFleetName, heartbeat.DeviceName
            self.devices[key] = Latest(heartbeat, moment, {box: moment} if box else {})
            return
        if heartbeat == known.heartbeat:
            self.repeated += 1
        if box:
            known.boxes[box] = max(moment, known.boxes.get(box, 0.0))
        if moment > known.moment:
            known.heartbeat, known.moment = heartbeat, moment

    def remarks(self) -> Iterator[str]:
        """Yield what was left out, in sentences."""
        yield from self.faults
        if self.left_out > len(self.faults):
            yield f"{self.left_out - len(self.faults)} more were left out"


def _when(heartbeat: Heartbeat, now: float, arrived: float | None) -> float:
    """Return when it was; raises ValueError where that is not known, or cannot be."""
    moment = arrived if arrived is not None else heartbeat.moment
    if moment is None:
        raise ValueError("it has neither HeartbeatTime nor a metric with a Timestamp: when it was is not known")
    if moment > now + AHEAD_S:
        raise ValueError(f"{heartbeat.DeviceName} sent it {moment - now:.0f} s in the future: set that device's clock")
    return moment
