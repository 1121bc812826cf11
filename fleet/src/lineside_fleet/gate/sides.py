"""What every comparison asks of two sides first: which design their devices allow, and whether enough are left."""

from collections.abc import Collection, Sequence
from typing import Final

from lineside_fleet.gate.comparison import NotCompared
from lineside_fleet.gate.estimating import MOST_LEFT_OUT, Design, choose
from lineside_fleet.gate.observations import Cell, Observations
from lineside_fleet.gate.settings import GateSettings

Sides = tuple[Observations, Observations]
"""Baseline, staged."""
WORDS: Final = ("baseline", "staged")

FEWEST_SLICES: Final = 4
"""Slices of time that a device must have where they are the units."""

UNITS: Final[dict[Design, str]] = {
    "pairs": "device, before and after",
    "groups": "device",
    "slices": "slice of time of each device",
}


def design_of(sides: Sides, settings: GateSettings) -> Design:
    """Return the design that the devices of both sides allow; raises NotCompared."""
    return choose(sides[0].devices, sides[1].devices, settings.devices)


def enough(
    sides: Sides, kept: Sequence[Collection[str]], settings: GateSettings, design: Design, needs: str
) -> tuple[set[str], set[str]]:
    """Return the devices of each side that are compared; raises NotCompared where too many have to be left out.

    `kept` are those of each side that have what the comparison needs, which `needs` says.
    """
    staged = sides[1].devices
    if design == "groups":
        for here, side, word in zip(kept, sides, WORDS, strict=True):
            there = len(side.devices)
            if len(here) < max(settings.devices, (1 - MOST_LEFT_OUT) * there):
                raise NotCompared("sample", f"{needs} device: {len(here)} of {there} {word} devices have them; wait.")
        return set(kept[0]), set(kept[1])
    both = set(kept[0]) & set(kept[1])
    if len(both) < (1 - MOST_LEFT_OUT) * len(staged):
        raise NotCompared(
            "sample", f"{needs} device on both sides: {len(both)} of {len(staged)} staged devices have them; wait."
        )
    if design == "pairs" and len(both) < settings.devices:
        raise NotCompared(
            "few-devices", f"{needs} device: {len(both)} have them on both sides, of {settings.devices} needed; wait."
        )
    return both, both


def plausible(cells: Sequence[Cell], name: str) -> None:
    """Raise NotCompared where counts contradict one another."""
    for cell in cells:
        parts, errors, unknowns, fails = (each or 0 for each in (cell.parts, cell.errors, cell.unknowns, cell.fails))
        if min(parts, errors, unknowns, fails) < 0 or unknowns + fails > parts or errors > parts:
            raise NotCompared(
                "values-unusable",
                f"{name}: {cell.device} counts {parts} parts, {errors} errors, {unknowns} unknowns and {fails} fails, "
                "which cannot be; see the source.",
            )
