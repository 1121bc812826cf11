"""A quantile of what one device did, from samples, bins or another's quantiles, and how well the source can place it.

Of samples it is the median-unbiased estimate (Hyndman and Fan, 1996, definition 8). Of bins it lies somewhere between
two edges, and both are told: the value between them is for the eye only. Samples of which many have one value, as of
a clock that ticks slowly, are bins in truth and are treated as such.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lineside_fleet.gate.comparison import NotCompared
from lineside_fleet.gate.observations import Bins, Floats, Quantiles, Samples, Values

BEYOND: Final = 5
"""Values that must lie beyond a quantile, on its thinner side, so that it is more than the largest value's chance."""
_TIED: Final = 0.02
"""Above this share of values that are equal to the quantile, they are counts of a coarse clock."""


@dataclass(frozen=True, slots=True)
class Located:
    """A quantile, and between what the source places it for certain."""

    value: float
    low: float
    high: float
    count: int


def needed(share: float) -> int:
    """Return how many values a quantile needs."""
    return math.ceil(BEYOND / min(share, 1 - share))


def locate(values: Sequence[Values], share: float, *, least: float, what: str) -> Located | None:
    """Return a quantile of joined values, None where they are too few; raises NotCompared where they are no figures.

    `least` is the smallest value that there can be.
    """
    samples = [each for each in values if isinstance(each, Samples)]
    bins = [each for each in values if isinstance(each, Bins)]
    ready = [each for each in values if isinstance(each, Quantiles)]
    if sum(map(bool, (samples, bins, ready))) > 1 or len(ready) > 1:
        raise NotCompared("values-unusable", f"{what}: values of several forms cannot be joined; ask one source.")
    if samples:
        return _of_samples(np.concatenate([each.values for each in samples]), share, least, what)
    if bins:
        return _of_bins(bins, share, what)
    return _of_quantiles(ready[0], share, least, what) if ready else None


def _of_samples(values: Floats, share: float, least: float, what: str) -> Located | None:
    unusable = int(values.size - np.count_nonzero(np.isfinite(values) & (values >= least)))
    if unusable:
        raise NotCompared(
            "values-unusable",
            f"{what}: {unusable} of {values.size} values are no number or below {least:g}; see where they come from.",
        )
    if values.size < needed(share):
        return None
    rank = min(max((values.size + 1 / 3) * share + 1 / 3, 1.0), float(values.size))
    first = int(rank) - 1
    second = min(first + 1, values.size - 1)
    parted = np.partition(values, (first, second))
    low, high = float(parted[first]), float(parted[second])
    value = low + (rank - first - 1) * (high - low)
    if low == high and np.count_nonzero(values == low) > _TIED * values.size:
        below, above = values[values < low], values[values > low]
        if not below.size and not above.size:
            raise NotCompared(
                "constant", f"{what}: all {values.size} values are {low:g}; a source that never changes shows nothing."
            )
        # The true value was rounded to this one: it lies no farther than the next one that occurs.
        down = float(below.max()) if below.size else 2 * low - float(above.min())
        up = float(above.min()) if above.size else 2 * low - float(below.max())
        return Located(value, max(least, (low + down) / 2), (low + up) / 2, values.size)
    return Located(value, value, value, values.size)


def _of_bins(bins: Sequence[Bins], share: float, what: str) -> Located | None:
    edges = bins[0].edges
    if any(not np.array_equal(each.edges, edges) for each in bins):
        raise NotCompared(
            "values-unusable", f"{what}: its bins have other edges at other times; choose a window of one."
        )
    counts = np.sum([each.counts for each in bins], axis=0)
    if not np.all(np.isfinite(counts)) or np.any(counts < 0):
        raise NotCompared("values-unusable", f"{what}: a bin's count is below zero or no number; see the source.")
    count = round(float(counts.sum()))
    if count < needed(share):
        return None
    summed = np.cumsum(counts)
    index = min(int(np.searchsorted(summed, share * summed[-1])), len(counts) - 1)
    low, high = float(edges[index]), float(edges[index + 1])
    if not math.isfinite(high):
        raise NotCompared(
            "resolution", f"{what}: it lies above {low:g}, the last edge of the source's bins; use exported evidence."
        )
    inside = (share * summed[-1] - (summed[index] - counts[index])) / counts[index]
    return Located(low + float(inside) * (high - low), low, high, count)


def _of_quantiles(given: Quantiles, share: float, least: float, what: str) -> Located | None:
    if given.count < needed(share):
        return None
    value = given.values.get(share)
    if value is None:
        raise NotCompared("no-data", f"{what}: the source computed no quantile {share:g}; ask it for that one.")
    if not math.isfinite(value) or value < least:
        raise NotCompared("values-unusable", f"{what}: the source says {value:g}; see where it comes from.")
    return Located(value, value / given.within, value * given.within, given.count)
