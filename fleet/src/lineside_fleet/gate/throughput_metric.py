"""Parts an hour, compared by the mean over devices of what each device's rate became."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from lineside_fleet.gate.comparison import Compared, Limit, NotCompared
from lineside_fleet.gate.estimating import Design, estimate
from lineside_fleet.gate.observations import Cell, Observations
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sides import FEWEST_SLICES, UNITS, WORDS, Sides, design_of, enough, plausible


@dataclass(frozen=True, slots=True)
class ThroughputMetric:
    """By how much of itself it may fall."""

    less: float
    name: str = "throughput"

    def compare(self, sides: Sides, settings: GateSettings) -> Compared:
        """Return the comparison; raises NotCompared."""
        design = design_of(sides, settings)
        figures = [self._figures(side, word, design) for side, word in zip(sides, WORDS, strict=True)]
        if not all(figures):
            raise NotCompared(
                "no-data", "Throughput: the source does not say how many parts there were; choose one that does."
            )
        kept = enough(sides, figures, settings, design, "Throughput needs the count of each")
        used = [{d: side[d] for d in sorted(names)} for side, names in zip(figures, kept, strict=True)]
        random = np.random.default_rng(settings.seed) if settings.interval == "bootstrap" else None
        # A window cuts a part at either end: its count is known to about one, also on a line that never varies.
        units = [1 / parts for side, names in zip(sides, kept, strict=True) for parts in _counts(side, names)]
        least = 2 * math.fsum(units) / len(units) ** 1.5
        found = estimate(design, used[0], used[1], bootstrap=random, least_error=least)
        before, after = (math.exp(float(np.mean([np.mean(each) for each in side.values()]))) for side in used)
        limit = Limit(
            1 - self.less,
            low=lambda level: math.exp(found.low(level)),
            high=lambda level: math.exp(found.high(level)),
        )
        method = f"mean of logarithms by {UNITS[design]}, {settings.interval}"
        return Compared("ratio", math.exp(found.value), before, after, None, limit, method)

    def _figures(self, side: Observations, word: str, design: Design) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {}
        for device, cells in side.by_device.items():
            known = [cell for cell in cells if cell.parts is not None and cell.seconds > 0]
            if not known:
                continue
            plausible(known, "Throughput")
            if not _parts(known):
                raise NotCompared(
                    "device-silent",
                    f"Throughput: {word} device {device} judged no part at all; see why, or leave the device out.",
                )
            groups = [[cell] for cell in known if cell.parts] if design == "slices" else [known]
            if design != "slices" or len(groups) >= FEWEST_SLICES:
                found[device] = [math.log(_parts(group) / _hours(group)) for group in groups]
        return found


def _counts(side: Observations, names: Collection[str]) -> list[int]:
    return [_parts(cells) for device, cells in side.by_device.items() if device in names]


def _parts(cells: Sequence[Cell]) -> int:
    return sum(cell.parts or 0 for cell in cells)


def _hours(cells: Sequence[Cell]) -> float:
    return sum(cell.seconds for cell in cells) / 3600
