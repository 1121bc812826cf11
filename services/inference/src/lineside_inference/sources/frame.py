"""One image from a source, and when it reached this service."""

import time
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Request
from lineside_inference.deadline import Arrival
from lineside_inference.imaging.encode import encode

_QUALITY = 85


@dataclass(frozen=True)
class Frame:
    """An image as it came: the bytes of its file, or decoded pixels (height x width x 3, BGR, uint8).

    `clock` is the instant at which it was all here, of time.monotonic(), in seconds.
    """

    data: bytes = b""
    pixels: NDArray[np.uint8] | None = None
    clock: float = field(default_factory=time.monotonic)

    def age_ms(self) -> float:
        """Return for how many milliseconds it has been here, at least 0."""
        return round(max(0.0, time.monotonic() - self.clock) * 1000, 3)

    def encoded(self) -> bytes:
        """Return it as a file to show: its own bytes, or a JPEG of its pixels (some 10 ms: call it in a thread)."""
        if self.pixels is None:
            return self.data
        return encode(self.pixels, quality=_QUALITY)


def trigger_clock(request: Request, arrival: Arrival) -> float:
    """Return the instant of the request's trigger on time.monotonic(), in seconds.

    It is `time.received`, when the bridge saw the trigger; the request's arrival where that is absent, or later than
    the arrival, which is a clock ahead of ours.
    """
    received: datetime | None = request.time.received
    if received is None:
        return arrival.clock
    return arrival.clock - max(0.0, (arrival.wall - received).total_seconds())
