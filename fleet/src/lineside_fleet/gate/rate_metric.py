"""Shares of parts: errors, unknowns, slow ones; and of defects and the unsure, of which any change is suspicious."""

from collections.abc import Callable
from dataclasses import dataclass

from lineside_fleet.gate import beyond
from lineside_fleet.gate.comparison import Compared, Limit, NotCompared
from lineside_fleet.gate.estimating import Design
from lineside_fleet.gate.names import title
from lineside_fleet.gate.observations import Cell, Observations
from lineside_fleet.gate.rates import Counts, excess
from lineside_fleet.gate.settings import GateSettings, RateSettings
from lineside_fleet.gate.sides import UNITS, WORDS, Sides, design_of, enough, plausible


@dataclass(frozen=True, slots=True)
class RateMetric:
    """Which counts of a cell, and how much more of them is allowed; `both`: and how much less."""

    name: str
    rate: RateSettings
    of: Callable[[Cell], Counts | None]
    both: bool
    remedy: str = "see the source"
    """What to do where it is not known."""

    def compare(self, sides: Sides, settings: GateSettings) -> Compared:
        """Return the comparison; raises NotCompared."""
        design = design_of(sides, settings)
        units = [self._units(side, design) for side in sides]
        for each, word in zip(units, WORDS, strict=True):
            if not each:
                raise NotCompared(
                    "no-data", f"{title(self.name)}: the {word} side has no parts of which it is known; {self.remedy}."
                )
        devices = [{device for device, _ in side} for side in units]
        kept = enough(sides, devices, settings, design, f"{title(self.name)} needs the counts of each")
        before, after = (
            {key: side[key] for key in side if key[0] in names} for side, names in zip(units, kept, strict=True)
        )
        ratio, allowance = self.rate.ratio, self.rate.allowance
        more = excess(design, before, after, ratio=ratio, allowance=allowance)
        share_before, share_after = more.shares
        top = share_before * ratio + allowance
        above = Limit(top, low=lambda level: top + more.low(level), high=lambda level: top + more.high(level))
        below = None
        if self.both:
            # That it did not fall below (before - allowance) / ratio is the same question with the sides changed.
            fewer = excess(design, after, before, ratio=ratio, allowance=allowance)
            bottom = (share_before - allowance) / ratio
            below = Limit(
                bottom,
                low=lambda level: bottom - fewer.high(level) / ratio,
                high=lambda level: bottom - fewer.low(level) / ratio,
            )
        method = f"exact bounds, design effect {more.effect:.2f} by {UNITS[design]}"
        return Compared("share", share_after, share_before, share_after, above, below, method)

    def _units(self, side: Observations, design: Design) -> dict[tuple[str, int], Counts]:
        found: dict[tuple[str, int], Counts] = {}
        for cell in side.cells:
            counts = self.of(cell)
            if counts is None or counts == (0, 0):
                continue
            plausible([cell], title(self.name))
            key = (cell.device, cell.slice if design == "slices" else 0)
            some, all_ = found.get(key, (0.0, 0.0))
            found[key] = (some + counts[0], all_ + counts[1])
        return found


def errors(cell: Cell) -> Counts | None:
    """Return how many parts failed or came too late, of all."""
    return None if cell.errors is None or cell.parts is None else (cell.errors, cell.parts)


def unknowns(cell: Cell) -> Counts | None:
    """Return how many parts got no verdict, of all."""
    return None if cell.unknowns is None or cell.parts is None else (cell.unknowns, cell.parts)


def defects(cell: Cell) -> Counts | None:
    """Return how many parts are defects, of those with pass or fail."""
    if cell.fails is None or cell.parts is None or cell.unknowns is None:
        return None
    return cell.fails, cell.parts - cell.unknowns


def slower_than(ms: float) -> Callable[[Cell], Counts | None]:
    """Return what counts the values of latency above a limit."""
    return lambda cell: None if cell.latency is None else beyond.above(cell.latency, ms, title(f"slow_{ms:g}"))


def no_surer_than(limit: float) -> Callable[[Cell], Counts | None]:
    """Return what counts the values of confidence up to a limit."""
    return lambda cell: (
        None if cell.confidence is None else beyond.upto(cell.confidence, limit, title(f"unsure_{limit:g}"))
    )
