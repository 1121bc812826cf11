"""A mean difference between two sides from one figure a unit, with bounds that hold for few units.

Parts of one device, and parts judged one after the other, are alike: a thousand of them are not a thousand independent
observations. So a device is one figure (Ibragimov and Muller, 2010: t statistics of group estimates), and Student's t
with the units' own degrees of freedom gives the bounds. Three designs:

    pairs    the same devices on both sides: differences by device, which leave out how fast each device is
    groups   other devices on each side: Welch's t over devices
    slices   the same, too few to stand for a fleet: slices of time are the units, the verdict is about these devices
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from lineside_fleet.gate.comparison import NotCompared
from lineside_fleet.gate.observations import Floats

Design = Literal["pairs", "groups", "slices"]
ByDevice = Mapping[str, Sequence[float]]
"""Figures by device: one for pairs and groups, one a slice of time for slices."""

DRAWS = 4000
MOST_LEFT_OUT = 0.2
"""Share of a side's devices that may be left out of a comparison, because they have no peer or too few parts."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean difference, its standard error, its degrees of freedom; `drawn` are bootstrap's t values, in order."""

    value: float
    error: float
    freedom: float
    drawn: Floats | None = None

    def low(self, level: float) -> float:
        """Return the bound that the truth is below with probability `level`."""
        return self.value - self._t(1 - level) * self.error

    def high(self, level: float) -> float:
        """Return the bound that the truth is above with probability `level`."""
        return self.value - self._t(level) * self.error

    def _t(self, share: float) -> float:
        by_student = float(stdtrit(self.freedom, share))
        if self.drawn is None:
            return by_student
        # Beyond what so many draws can tell, and never closer than Student's: few units make the bootstrap bold.
        by_draws = float(np.quantile(self.drawn, share))
        return max(by_student, by_draws) if share > 0.5 else min(by_student, by_draws)  # noqa: PLR2004 - the middle


def choose(baseline: Collection[str], staged: Collection[str], least: int) -> Design:
    """Return the design that the devices of both sides allow; raises NotCompared."""
    shared = len(set(baseline) & set(staged))
    if staged and shared >= (1 - MOST_LEFT_OUT) * len(staged):
        return "pairs" if shared >= least else "slices"
    if min(len(baseline), len(staged)) >= least:
        return "groups"
    raise NotCompared(
        "few-devices",
        f"{len(staged)} staged and {len(baseline)} baseline devices, {shared} of them the same: what a device is like "
        f"cannot be told from what the version does. Compare the same devices, or at least {least} of each side.",
    )


def estimate(
    design: Design,
    baseline: ByDevice,
    staged: ByDevice,
    *,
    bootstrap: np.random.Generator | None = None,
    least_error: float = 0.0,
) -> Estimate:
    """Return the mean difference staged - baseline; raises NotCompared where all figures are the same.

    `least_error` is added to the standard error, for figures that cannot be known better.
    """
    if design == "groups":
        found = _welch(np.array([one[0] for one in baseline.values()]), np.array([one[0] for one in staged.values()]))
        samples = [np.array([one[0] for one in side.values()]) for side in (baseline, staged)]
        remake: Callable[[list[Floats]], tuple[Floats, Floats]] = _welch_many
    elif design == "pairs":
        differences = np.array([staged[name][0] - baseline[name][0] for name in staged if name in baseline])
        found = _student(differences)
        samples, remake = [differences], _student_many
    else:
        shared = [name for name in staged if name in baseline]
        samples = [np.asarray(side[name]) for name in shared for side in (baseline, staged)]
        found, remake = _stratified(samples), _stratified_many
    found = replace(found, error=math.hypot(found.error, least_error))
    if not found.error > 1e-12 * max(1.0, abs(found.value)):
        raise NotCompared(
            "constant",
            "Every unit has exactly the same figure: a source that never changes shows nothing; see where it is from.",
        )
    if bootstrap is None:
        return found
    drawn = [one[bootstrap.integers(len(one), size=(DRAWS, len(one)))] for one in samples]
    values, errors = remake(drawn)
    t = (values - found.value) / np.where(errors > 0, errors, np.inf)
    return replace(found, drawn=np.sort(t))


def _student(values: Floats) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)), values.size - 1)


def _student_many(drawn: list[Floats]) -> tuple[Floats, Floats]:
    values = drawn[0]
    return values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(values.shape[1])


def _welch(before: Floats, after: Floats) -> Estimate:
    parts = np.array([before.var(ddof=1) / before.size, after.var(ddof=1) / after.size])
    return _joined(float(after.mean() - before.mean()), parts, np.array([before.size - 1, after.size - 1]))


def _welch_many(drawn: list[Floats]) -> tuple[Floats, Floats]:
    before, after = drawn
    variance = before.var(axis=1, ddof=1) / before.shape[1] + after.var(axis=1, ddof=1) / after.shape[1]
    return after.mean(axis=1) - before.mean(axis=1), np.sqrt(variance)


def _stratified(samples: Sequence[Floats]) -> Estimate:
    devices = len(samples) // 2
    value = sum(float(samples[i + 1].mean() - samples[i].mean()) for i in range(0, len(samples), 2)) / devices
    parts = np.array([one.var(ddof=1) / one.size for one in samples]) / devices**2
    return _joined(value, parts, np.array([one.size - 1 for one in samples]))


def _stratified_many(drawn: list[Floats]) -> tuple[Floats, Floats]:
    devices = len(drawn) // 2
    value = sum(drawn[i + 1].mean(axis=1) - drawn[i].mean(axis=1) for i in range(0, len(drawn), 2)) / devices
    variance = sum(one.var(axis=1, ddof=1) / one.shape[1] for one in drawn) / devices**2
    return np.asarray(value), np.sqrt(np.asarray(variance))


def _joined(value: float, parts: Floats, freedoms: Floats) -> Estimate:
    """Return an estimate whose variance is a sum, with Welch and Satterthwaite's degrees of freedom."""
    total = float(parts.sum())
    if total <= 0:
        return Estimate(value, 0.0, 1.0)
    return Estimate(value, total**0.5, max(1.0, total**2 / float((parts**2 / freedoms).sum())))
