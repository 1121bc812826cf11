"""Shares of rare things compared exactly, with devices that differ and events that come in bursts.

What is allowed is `ratio` times the share before, plus `allowance`, so the question is whether

    excess = staged - ratio * baseline - allowance

is below zero. Its bounds are made of Clopper and Pearson's exact bounds of both shares, joined by their distances from
the estimates (MOVER: Zou and Donner, 2008), so no normal approximation of small counts is used and zero counts have
bounds. Clopper and Pearson's bounds hold for independent parts. Where the excess varies more between units (devices, or
slices of time) than independent parts would, counts are divided by that design effect and by (t / z)^2 for the units'
degrees of freedom (Korn and Graubard, 1998).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from lineside_fleet.gate.estimating import Design
from lineside_fleet.gate.observations import Floats

Counts = tuple[float, float]
"""How many of how many."""
ByUnit = Mapping[tuple[str, int], Counts]
"""Counts by device and slice; slice 0 where a device is one unit."""


@dataclass(frozen=True, slots=True)
class Excess:
    """The excess of a share over what is allowed of it."""

    baseline: Counts
    staged: Counts
    ratio: float
    allowance: float
    effect: float
    """The design effect, 1 at least: how many parts carry the information of one independent part."""
    freedom: float

    @property
    def value(self) -> float:
        """The estimate."""
        before, after = self.shares
        return after - self.ratio * before - self.allowance

    @property
    def shares(self) -> tuple[float, float]:
        """Baseline's and staged's."""
        return self.baseline[0] / self.baseline[1], self.staged[0] / self.staged[1]

    def high(self, level: float) -> float:
        """Return the bound that the truth is above with probability `level`."""
        before, after = self.shares
        up = self._upper(self.staged, level) - after
        down = self.ratio * (before - self._lower(self.baseline, level))
        return self.value + float(np.hypot(up, down))

    def low(self, level: float) -> float:
        """Return the bound that the truth is below with probability `level`."""
        before, after = self.shares
        down = after - self._lower(self.staged, level)
        up = self.ratio * (self._upper(self.baseline, level) - before)
        return self.value - float(np.hypot(up, down))

    def _effective(self, counts: Counts, level: float) -> Counts:
        by = self.effect * max(1.0, (float(stdtrit(self.freedom, level)) / float(ndtri(level))) ** 2)
        return counts[0] / by, counts[1] / by

    def _upper(self, counts: Counts, level: float) -> float:
        some, all_ = self._effective(counts, level)
        return float(betaincinv(some + 1, all_ - some, 1 - level)) if some < all_ else 1.0

    def _lower(self, counts: Counts, level: float) -> float:
        some, all_ = self._effective(counts, level)
        return float(betaincinv(some, all_ - some + 1, level)) if some > 0 else 0.0


def excess(design: Design, baseline: ByUnit, staged: ByUnit, *, ratio: float, allowance: float) -> Excess:
    """Return the excess; the units are those of the design, each side has parts."""
    before, after = _summed(baseline), _summed(staged)
    p, q = before[0] / before[1], after[0] / after[1]
    independent = q * (1 - q) / after[1] + ratio**2 * p * (1 - p) / before[1]
    varies, freedom = _clustered(design, baseline, staged, ratio)
    effect = max(1.0, varies / independent) if independent > 0 else 1.0
    return Excess(before, after, ratio, allowance, effect, freedom)


def _clustered(design: Design, baseline: ByUnit, staged: ByUnit, ratio: float) -> tuple[float, float]:
    """Return the excess's variance from how much units differ, and its degrees of freedom."""
    if design == "pairs":
        names = sorted(set(baseline) | set(staged))
        apart = _residuals(staged, names) - ratio * _residuals(baseline, names)
        freedom = max(1, len(names) - 1)
        return float((apart**2).sum()) * len(names) / freedom, freedom
    if design == "groups":
        sides = (_residuals(staged, sorted(staged)), ratio * _residuals(baseline, sorted(baseline)))
        means = [1, 1]
    else:
        sides = (_within(staged), ratio * _within(baseline))
        means = [len({device for device, _ in side}) for side in (staged, baseline)]
    freedoms = [max(1, len(one) - mean) for one, mean in zip(sides, means, strict=True)]
    variances = [float((one**2).sum()) * len(one) / free for one, free in zip(sides, freedoms, strict=True)]
    total = sum(variances)
    if total <= 0:
        return 0.0, float(sum(freedoms))
    joined = total**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True))
    return total, max(1.0, joined)


def _residuals(units: ByUnit, names: list[tuple[str, int]]) -> Floats:
    """Return by how much each unit's count is off what its side's share makes of it, over the side's parts."""
    some, all_ = (np.array(each) for each in zip(*(units.get(name, (0.0, 0.0)) for name in names), strict=True))
    return np.asarray((some - all_ * (some.sum() / all_.sum())) / all_.sum())


def _within(units: ByUnit) -> Floats:
    """Return the same of slices, each against its own device's share: how devices differ is no chance here."""
    total = _summed(units)[1]
    of = {device: _summed({key: each for key, each in units.items() if key[0] == device}) for device, _ in units}
    return np.array(
        [(some - all_ * of[device][0] / of[device][1]) / total for (device, _), (some, all_) in units.items()]
    )


def _summed(units: ByUnit) -> Counts:
    return sum(some for some, _ in units.values()), sum(all_ for _, all_ in units.values())
