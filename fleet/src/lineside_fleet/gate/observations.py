"""What was observed of one side of a rollout: counts and values by device and slice of time.

A source gives what it has: each value, or counts in bins, or quantiles that somebody else computed. What it cannot give
is None, which is not the same as zero.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SLICES = 12
"""Into how many slices of time sources cut a window."""


@dataclass(frozen=True, slots=True)
class Window:
    """From when to when; both aware."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds()

    def slice_of(self, moment: datetime, slices: int = SLICES) -> int:
        """Return the slice that a moment lies in; one outside of the window counts to the nearest."""
        share = (moment - self.start).total_seconds() / max(self.seconds, 1e-9)
        return min(slices - 1, max(0, int(share * slices)))

    def hours_shared(self, other: "Window") -> float:
        """Return which share of this window's hours of the day the other one covers too, 0 to 1."""
        mine, others = _times_of_day(self), _times_of_day(other)
        both = sum(max(0.0, min(a1, b1) - max(a0, b0)) for a0, a1 in mine for b0, b1 in others)
        whole = sum(end - start for start, end in mine)
        return both / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Samples:
    """Values, in the order of time."""

    values: Floats


@dataclass(frozen=True, slots=True)
class Bins:
    """Counts between edges: `counts[i]` values lie above `edges[i]` and not above `edges[i + 1]`."""

    edges: Floats
    counts: Floats

    def __post_init__(self) -> None:
        if len(self.edges) != len(self.counts) + 1 or not all(a < b for a, b in pairwise(self.edges.tolist())):
            raise ValueError("bins need one edge more than counts, each larger than the one before")


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles that the source computed, by share; each is right within the factor `within`, 1 at least."""

    values: Mapping[float, float]
    count: int
    within: float = 1.0


Values = Samples | Bins | Quantiles


@dataclass(frozen=True, slots=True)
class Cell:
    """One device in one slice of time.

    `parts` were asked about, of which `errors` failed or came too late and `unknowns` got no verdict (errors are among
    them); of the others `fails` are defects. `latency` is in ms, `confidence` 0 to 1.
    """

    device: str
    slice: int
    seconds: float
    parts: int | None = None
    errors: int | None = None
    unknowns: int | None = None
    fails: int | None = None
    latency: Values | None = None
    confidence: Values | None = None


@dataclass(frozen=True)
class Observations:
    """One side: which versions, from where, over which window, and what each device did.

    `whole` are the slices' `latency` and `confidence` over all of the window, by device, where a source's quantiles
    cannot be joined from slices. `remarks` say what the source had to leave out.
    """

    source: str
    versions: tuple[str, ...]
    window: Window
    cells: tuple[Cell, ...]
    whole: Mapping[str, Cell] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> int:
        """How many parts there were; cells that do not say it count none."""
        return sum(cell.parts or 0 for cell in self.cells)

    @cached_property
    def by_device(self) -> dict[str, list[Cell]]:
        """Return the cells of each device, in the order of time."""
        found: dict[str, list[Cell]] = {}
        for cell in sorted(self.cells, key=lambda cell: (cell.device, cell.slice)):
            found.setdefault(cell.device, []).append(cell)
        return found

    @property
    def devices(self) -> Collection[str]:
        """Each device once."""
        return self.by_device.keys()


def _times_of_day(window: Window) -> list[tuple[float, float]]:
    """Return the seconds of the day that are covered, in UTC, as at most two ranges."""
    day = timedelta(days=1).total_seconds()
    if window.seconds >= day:
        return [(0.0, day)]
    start = window.start.astimezone(UTC)
    first = (start - start.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    last = first + window.seconds
    return [(first, last)] if last <= day else [(first, day), (0.0, last - day)]
