"""Deadlines that begin now."""

import time

from lineside_inference.deadline import Deadline


def within(seconds: float = 0.02) -> Deadline:
    """Return a deadline that many seconds from now."""
    return Deadline(time.monotonic() + seconds)
