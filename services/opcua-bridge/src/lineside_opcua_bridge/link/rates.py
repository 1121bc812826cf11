"""Publishing intervals, queue sizes and call sizes, chosen by how often tags are sampled.

A queue that is too short is the most common loss: the server goes on sampling, drops the oldest value, and with a queue
of one does not even report it. So each queue holds the values of four publishing intervals, and of at least two
seconds, which covers a short outage too. Tags that are sampled slowly are published at longer intervals.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MAX_ITEMS = 1000
"""Monitored items in one subscription."""
DEFAULT_CALL = 1000
"""Items in one call where the server names no limit."""

_SLOWEST_MS = 1000.0
_FIRST_STEP_MS = 20.0
_INTERVALS = 4
_MIN_QUEUED_MS = 2000.0
_MIN_QUEUE, _MAX_QUEUE, _EVENT_QUEUE = 2, 1000, 20


def publishing_for(sampling_ms: float, fastest_ms: float) -> float:
    """Return the publishing interval in ms for a tag that is sampled every `sampling_ms`; 0 is on every change.

    It is `fastest_ms`, doubled as long as it stays within a sample period and within a second. So there are few
    different intervals, hence few subscriptions, and no value is delayed longer than its sample period.
    """
    interval = fastest_ms
    step = fastest_ms or _FIRST_STEP_MS / 2
    while step * 2 <= min(sampling_ms, _SLOWEST_MS):
        step *= 2
        interval = step
    return interval


def queue_for(sampling_ms: float, publishing_ms: float) -> int:
    """Return how many values the server shall keep for a tag until it has published them."""
    if sampling_ms <= 0:
        return _EVENT_QUEUE
    kept = max(_INTERVALS * publishing_ms, _MIN_QUEUED_MS) / sampling_ms
    return max(_MIN_QUEUE, math.ceil(min(_MAX_QUEUE - 1, kept)) + 1)


@dataclass(frozen=True)
class Granted:
    """The revised sampling interval and queue size of a monitored item."""

    sampling_ms: float
    queue: int


def is_short(granted: Granted, publishing_ms: float) -> bool:
    """Whether the server samples more values in a publishing interval than its queue holds, and so drops some."""
    return granted.queue < _MIN_QUEUE or publishing_ms > fits(granted)


def fits(granted: Granted) -> float:
    """Return the longest publishing interval in ms that loses nothing with this queue; infinite where none does."""
    return (granted.queue - 1) * granted.sampling_ms if granted.sampling_ms > 0 else math.inf


def is_slow(asked_ms: float, granted: Granted) -> bool:
    """Whether the server samples a tag more slowly than asked for; 0 asks for its fastest, whatever that is."""
    return asked_ms > 0 and granted.sampling_ms > asked_ms * 1.01


def batches(items: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    """Yield the items in groups of at most `limit`, the server's limit for one call; 0 means that it names none."""
    size = limit or DEFAULT_CALL
    for start in range(0, len(items), size):
        yield items[start : start + size]
