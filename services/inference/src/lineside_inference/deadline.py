"""When a request was triggered and came, and until when its answer is wanted, on the clock that never jumps."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from lineside.contract import Request, utc_now


@dataclass(frozen=True)
class Arrival:
    """The instant at which a request reached this service, on both clocks."""

    wall: datetime = field(default_factory=utc_now)
    clock: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Deadline:
    """`at` is an instant of time.monotonic(), in seconds."""

    at: float

    @classmethod
    def of(cls, request: Request, arrival: Arrival, *, default_ms: float, margin_ms: float) -> "Deadline":
        """Return until when the stages of a request may work.

        The request's deadline, or `default_ms` after arrival where it has none, less `margin_ms` for the answer's
        own way back, but never more than a tenth of what was left at arrival.
        """
        expires = request.expires(arrival.wall)
        left = default_ms / 1000 if expires is None else (expires - arrival.wall).total_seconds()
        return cls(arrival.clock + left - max(0.0, min(margin_ms / 1000, left / 10)))

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    @property
    def has_passed(self) -> bool:
        """Whether nothing is left."""
        return time.monotonic() >= self.at


@dataclass(frozen=True)
class Trigger:
    """When a request's part was triggered; instants are of time.monotonic(), in seconds.

    `clock` is as of `trigger_clock`. `stamps` are the request's own timestamps by their names (`source`, `server`,
    `received`), as their clocks have them: nothing is made up for one that is absent or ahead of ours.
    """

    clock: float
    stamps: Mapping[str, float] = field(default_factory=dict)
    is_recovered: bool = False
    """Whether it was found by reading the PLC after a gap, so that nobody saw when it was."""

    @classmethod
    def of(cls, request: Request, arrival: Arrival) -> "Trigger":
        """Return the trigger of a request; one without any timestamp was triggered as it arrived."""
        times = {name: getattr(request.time, name) for name in ("source", "server", "received")}
        stamps = {
            name: arrival.clock - (arrival.wall - stamp).total_seconds()
            for name, stamp in times.items()
            if stamp is not None
        }
        recovered = (request.context.model_extra or {}).get("recovered")
        return cls(trigger_clock(request, arrival), stamps or {"received": arrival.clock}, is_recovered=bool(recovered))


def trigger_clock(request: Request, arrival: Arrival) -> float:
    """Return the instant of the request's trigger on time.monotonic(), in seconds.

    It is `time.received`, when the bridge saw the trigger; the request's arrival where that is absent, or later than
    the arrival, which is a clock ahead of ours.
    """
    received = request.time.received
    if received is None:
        return arrival.clock
    return arrival.clock - max(0.0, (arrival.wall - received).total_seconds())
