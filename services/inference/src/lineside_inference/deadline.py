"""When a request was triggered and came, and until when its answer is wanted, on the clock that never jumps."""

import time
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


def trigger_clock(request: Request, arrival: Arrival) -> float:
    """Return the instant of the request's trigger on time.monotonic(), in seconds.

    It is `time.received`, when the bridge saw the trigger; the request's arrival where that is absent, or later than
    the arrival, which is a clock ahead of ours.
    """
    received = request.time.received
    if received is None:
        return arrival.clock
    return arrival.clock - max(0.0, (arrival.wall - received).total_seconds())
