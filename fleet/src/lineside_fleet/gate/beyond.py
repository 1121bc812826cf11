"""How many values lie beyond an edge: what a histogram knows exactly, where it knows no quantile. Pure.

Between two edges of a histogram a value may lie anywhere, so a quantile is known to the width of a bucket and no
better, however much data there is. How many values lie above an edge is counted: a share with exact bounds.
"""

import math

import numpy as np

from lineside_fleet.gate.comparison import NotCompared
from lineside_fleet.gate.observations import Bins, Samples, Values
from lineside_fleet.gate.rates import Counts

_SAME = 1e-9
"""Relative difference of two edges that were written in seconds and milliseconds."""


def above(values: Values, edge: float, what: str) -> Counts:
    """Return how many values are larger than `edge`, of how many; raises NotCompared where the source cannot say."""
    if isinstance(values, Samples):
        _finite(values, what)
        return int(np.count_nonzero(values.values > edge)), int(values.values.size)
    if isinstance(values, Bins):
        counts = _counted(values, what)
        return float(counts[_edge(values, edge, what) :].sum()), float(counts.sum())
    raise NotCompared(
        "no-data",
        f"{what}: the source has quantiles, which are compared as they are, and no counts; leave it null here.",
    )


def upto(values: Values, edge: float, what: str) -> Counts:
    """Return how many values are `edge` or smaller, of how many; raises NotCompared as `above` does."""
    more, all_ = above(values, edge, what)
    return all_ - more, all_


def _finite(values: Samples, what: str) -> None:
    wrong = int(values.values.size - np.count_nonzero(np.isfinite(values.values)))
    if wrong:
        raise NotCompared(
            "values-unusable",
            f"{what}: {wrong} of {values.values.size} values are no number; see where they come from.",
        )


def _counted(bins: Bins, what: str) -> np.ndarray:
    if not np.all(np.isfinite(bins.counts)) or np.any(bins.counts < 0):
        raise NotCompared("values-unusable", f"{what}: a bin's count is below zero or no number; see the source.")
    return bins.counts


def _edge(bins: Bins, edge: float, what: str) -> int:
    """Return which edge it is."""
    inner = [each for each in bins.edges[1:].tolist() if math.isfinite(each)]
    for number, each in enumerate(inner, 1):
        if math.isclose(each, edge, rel_tol=_SAME):
            return number
    below = max((each for each in inner if each < edge), default=None)
    beyond = min((each for each in inner if each > edge), default=None)
    near = " and ".join(f"{each:g}" for each in (below, beyond) if each is not None) or "none"
    raise NotCompared(
        "no-edge",
        f"{what}: the source does not count there; of the edges of its buckets the next are {near}: take one.",
    )
