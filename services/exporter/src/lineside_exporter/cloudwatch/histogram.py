"""A distribution in at most 150 bins, whatever is put in: what one datum of PutMetricData can carry.

A bin covers values of one sign up to a constant ratio apart and is shown as the mean of what is in it, so the count
and the sum stay what they were, and a percentile is wrong by less than the ratio. Where there would be more bins than
allowed, neighbours are joined two and two and the ratio is squared (the uniform collapse of Epicoco et al.,
"UDDSketch", 2020).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_BINS = 150
FIRST_RATIO = 1.01
_SMALLEST = 1e-9
"""What is closer to zero is zero: no latency and no confidence is that small."""
_LARGEST = 1e12
_MIN_BINS = 5
"""However often neighbours are joined: zero, and of each sign what is up to 1 and what is above."""


@dataclass
class _Bin:
    count: int = 0
    total: float = 0.0


class Histogram:
    """Values with counts."""

    def __init__(self, *, max_bins: int = MAX_BINS) -> None:
        if max_bins < _MIN_BINS:
            raise ValueError(f"max_bins: expected at least {_MIN_BINS} (got {max_bins})")
        self._max_bins = max_bins
        self._log = math.log(FIRST_RATIO)
        self._bins: dict[tuple[int, int], _Bin] = {}
        self.count = 0
        self.total = 0.0
        self.largest = -math.inf

    @property
    def ratio(self) -> float:
        """The largest ratio of two values in one bin."""
        return math.exp(self._log)

    @property
    def bins(self) -> int:
        """How many different values are shown."""
        return len(self._bins)

    def add(self, value: float) -> None:
        """Take a value; one that is not finite is nothing that was measured and is left out."""
        if not math.isfinite(value):
            return
        value = min(_LARGEST, max(-_LARGEST, value))
        self.count += 1
        self.total += value
        self.largest = max(self.largest, value)
        into = self._bins.setdefault(self._key(value), _Bin())
        into.count += 1
        into.total += value
        while len(self._bins) > self._max_bins:
            self._collapse()

    def values(self) -> tuple[tuple[float, int], ...]:
        """Return each bin's mean and count, smallest first."""
        return tuple(sorted((each.total / each.count, each.count) for each in self._bins.values()))

    def mean(self) -> float:
        """Return the mean; raises ZeroDivisionError where nothing was put in."""
        return self.total / self.count

    def percentile(self, share: float) -> float:
        """Return the value that `share` (0 to 1) of all are not above, within `ratio`; raises ValueError if empty."""
        return percentile(self.values(), share)

    def _key(self, value: float) -> tuple[int, int]:
        if abs(value) < _SMALLEST:
            return 0, 0
        return (1 if value > 0 else -1), math.ceil(math.log(abs(value)) / self._log)

    def _collapse(self) -> None:
        self._log *= 2
        joined: dict[tuple[int, int], _Bin] = {}
        for (sign, index), each in self._bins.items():
            into = joined.setdefault((sign, math.ceil(index / 2)), _Bin())
            into.count += each.count
            into.total += each.total
        self._bins = joined


def percentile(values: Sequence[tuple[float, int]], share: float) -> float:
    """Return the value that `share` (0 to 1) of all are not above; `values` with counts, smallest first."""
    if not values:
        raise ValueError("no values: there is no percentile")
    rank = max(1, math.ceil(share * sum(count for _value, count in values)))
    for value, count in values:
        rank -= count
        if rank <= 0:
            return value
    return values[-1][0]
