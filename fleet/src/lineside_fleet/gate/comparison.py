"""One metric of two sides, compared: an estimate, and the bounds of what the data allows, at any level.

A limit above asks that the metric is not shown to be higher, one below that it is not lower. What decides takes the
bounds only, so that every kind of metric is decided alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Scale = Literal["ratio", "difference", "share"]
Bound = Callable[[float], float]
"""Returns a one-sided bound by its level, the probability that it is wrong."""

_SMALLEST, _LARGEST = 1e-12, 0.49


@dataclass(frozen=True, slots=True)
class Limit:
    """What is allowed, and the bounds of what is compared with it.

    At level a the truth is below `low(a)` with at most that probability, and above `high(a)` too.
    """

    at: float
    low: Bound
    high: Bound


@dataclass(frozen=True, slots=True)
class Compared:
    """A metric whose two sides could be compared."""

    scale: Scale
    estimate: float
    baseline: float
    staged: float
    above: Limit | None
    below: Limit | None
    method: str
    slack: float = 0.0
    """How far the upper bound was moved for the source's resolution, on the metric's scale."""


class NotCompared(Exception):
    """A metric cannot be judged: the name of the cause, and a sentence that says what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def smallest_level(holds: Callable[[float], bool]) -> float:
    """Return the least level at which something is shown, which is its p-value; 1 where it is at none."""
    low, high = _SMALLEST, _LARGEST
    if holds(low):
        return low
    if not holds(high):
        return 1.0
    for _ in range(18):  # to about four digits
        middle = (low * high) ** 0.5
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
