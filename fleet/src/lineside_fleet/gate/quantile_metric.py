"""Quantiles of latency or confidence, compared by the mean over devices of what each device's quantile became."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineside_fleet.gate.comparison import Compared, Limit, NotCompared
from lineside_fleet.gate.estimating import Design, estimate
from lineside_fleet.gate.locating import Located, locate, needed
from lineside_fleet.gate.names import title
from lineside_fleet.gate.observations import Cell, Observations, Values
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sides import FEWEST_SLICES, UNITS, WORDS, Sides, design_of, enough

ByDevice = Mapping[str, Sequence[Located]]


@dataclass(frozen=True, slots=True)
class QuantileMetric:
    """Which quantile of what; `is_ratio`: compared by its logarithm, which `margin` is a share of."""

    name: str
    share: float
    margin: float
    is_ratio: bool
    of: Callable[[Cell], Values | None]

    def compare(self, sides: Sides, settings: GateSettings) -> Compared:
        """Return the comparison; raises NotCompared."""
        design = design_of(sides, settings)
        located = [self._located(side, design) for side in sides]
        for each, word in zip(located, WORDS, strict=True):
            if not each:
                raise NotCompared("no-data", self._no_data(word, design))
        kept = enough(sides, located, settings, design, f"{title(self.name)} needs {needed(self.share)} values of each")
        used = [{d: side[d] for d in sorted(names)} for side, names in zip(located, kept, strict=True)]
        if self.is_ratio and any(one.low <= 0 for side in used for each in side.values() for one in each):
            raise NotCompared(
                "values-unusable", f"{title(self.name)}: it is 0 on a device, no ratio to that says anything."
            )
        figures = [{d: [self._scaled(one.value) for one in each] for d, each in side.items()} for side in used]
        random = np.random.default_rng(settings.seed) if settings.interval == "bootstrap" else None
        found = estimate(design, figures[0], figures[1], bootstrap=random)
        up = self._mean(used[1], _above) + self._mean(used[0], _below)
        down = self._mean(used[1], _below) + self._mean(used[0], _above)
        one = 1.0 if self.is_ratio else 0.0
        above = Limit(
            one + self.margin,
            low=lambda level: self._back(found.low(level) - down),
            high=lambda level: self._back(found.high(level) + up),
        )
        before, after = (self._back(self._mean(side, lambda each: (each.value,))) for side in used)
        return Compared(
            scale="ratio" if self.is_ratio else "difference",
            estimate=self._back(found.value),
            baseline=before,
            staged=after,
            above=above,
            below=None if self.is_ratio else Limit(-self.margin, above.low, above.high),
            method=f"mean of {'logarithms' if self.is_ratio else 'quantiles'} by {UNITS[design]}, {settings.interval}",
            slack=self._back(up) - one,
        )

    def _located(self, side: Observations, design: Design) -> dict[str, list[Located]]:
        """Return each device's quantiles: one, or one a slice of time; devices with too few values are left out."""
        found: dict[str, list[Located]] = {}
        for device, cells in side.by_device.items():
            if design == "slices":
                groups: list[list[Cell]] = [[cell] for cell in cells]
            else:
                groups = [[side.whole[device]] if device in side.whole else list(cells)]
            what = f"{title(self.name)} of {device}"
            values = [[value for cell in group if (value := self.of(cell)) is not None] for group in groups]
            each = [one for group in values if (one := locate(group, self.share, least=0.0, what=what))]
            if len(each) >= (FEWEST_SLICES if design == "slices" else 1):
                found[device] = each
        return found

    def _no_data(self, word: str, design: Design) -> str:
        where = f", in each of {FEWEST_SLICES} slices of time" if design == "slices" else ""
        return (
            f"{title(self.name)}: no {word} device has {needed(self.share)} values of it{where}; wait, or take it from "
            "a source that has it."
        )

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_ratio else value

    def _back(self, value: float) -> float:
        return math.exp(value) if self.is_ratio else value

    def _mean(self, side: ByDevice, of: Callable[[Located], tuple[float, ...]]) -> float:
        """Return the mean over devices of a value, or of how far one value is from another, on the metric's scale."""

        def scaled(each: Located) -> float:
            first, *rest = (self._scaled(value) for value in of(each))
            return first - sum(rest)

        return sum(sum(map(scaled, each)) / len(each) for each in side.values()) / len(side)


def _above(each: Located) -> tuple[float, float]:
    return each.high, each.value


def _below(each: Located) -> tuple[float, float]:
    return each.value, each.low
