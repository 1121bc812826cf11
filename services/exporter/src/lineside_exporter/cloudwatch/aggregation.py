"""Results of one period, by station and model: what is counted, and what it is called in CloudWatch.

| metric | unit | of each result |
|---|---|---|
| Latency | Milliseconds | from the request's arrival to the answer, where it was judged |
| Confidence | None | of the surest finding, or else of the best label, where there is one |
| Defect | None | 1 for fail, 0 for pass: the average is the share of defects |
| Unknown | None | 1 for unknown, 0 for pass and fail |
| Error | None | 1 where the request failed or came too late, 0 where it was judged |
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from lineside.contract import TRY_STATION, Result
from lineside_exporter.cloudwatch.histogram import Histogram

UNITS: Final = {"Latency": "Milliseconds", "Confidence": "None", "Defect": "None", "Unknown": "None", "Error": "None"}
"""The metrics and their units, in the order in which they are sent."""

MAX_REMEMBERED = 4096
_ABOUT_NO_PART: Final = frozenset({"rejected", "disabled"})
"""A wrong request, and one while the line is paused, is no error of the version that judges."""
_NO_NAME = "none"


@dataclass(frozen=True)
class Series:
    """The dimensions beside the thing's name."""

    station: str
    model: str


@dataclass(frozen=True)
class Block:
    """One series' figures of one period, which are sent together."""

    series: Series
    period: int
    """Number of the period since the start."""
    began: float
    """When the period began, on the monotonic clock: the wall clock may be set right in between."""
    results: int
    figures: Mapping[str, Histogram]


def series_of(result: Result) -> Series | None:
    """Return the series that a result counts in; None for one that was tried by hand."""
    if result.context.station == TRY_STATION:
        return None
    return Series(_dimension(result.context.station), _dimension(result.model.name if result.model else None))


def figures_of(result: Result) -> dict[str, float]:
    """Return what a result says, by metric; what it does not say is absent."""
    found: dict[str, float] = {"Unknown": float(result.verdict == "unknown")}
    if result.verdict != "unknown":
        found["Defect"] = float(result.verdict == "fail")
    if result.status not in _ABOUT_NO_PART:
        found["Error"] = float(result.status != "ok")
    if result.status == "ok" and result.timing_ms.total is not None:
        found["Latency"] = result.timing_ms.total
    if result.findings:
        found["Confidence"] = result.findings[0].confidence
    elif result.scores:
        found["Confidence"] = max(result.scores.values())
    return found


@dataclass
class _Counted:
    results: int = 0
    figures: dict[str, Histogram] = field(default_factory=dict)


class Aggregator:
    """Counts results into periods. A request is counted once, however often its answer is told."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._known: set[Series] = set()
        self._remembered: OrderedDict[str, None] = OrderedDict()
        self._counted: dict[Series, _Counted] = {}
        self._periods = 0

    @property
    def series(self) -> int:
        """How many pairs of station and model there are since the start: each costs its metrics."""
        return len(self._known)

    def add(self, result: Result) -> bool:
        """Count a result; return False where it is of one series too many."""
        series = series_of(result)
        if series is None or self._seen(result.request_id):
            return True
        if series not in self._known:
            if len(self._known) >= self._max_series:
                return False
            self._known.add(series)
        counted = self._counted.setdefault(series, _Counted())
        counted.results += 1
        for metric, value in figures_of(result).items():
            counted.figures.setdefault(metric, Histogram()).add(value)
        return True

    def close(self, began: float) -> list[Block]:
        """Return the period's figures, and begin the next; nothing where there was no result."""
        blocks = [
            Block(series, self._periods, began, counted.results, counted.figures)
            for series, counted in self._counted.items()
        ]
        self._counted = {}
        self._periods += 1
        return blocks

    def _seen(self, request_id: str) -> bool:
        if request_id in self._remembered:
            return True
        self._remembered[request_id] = None
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return False


def named(block: Block) -> Iterator[tuple[str, Histogram]]:
    """Yield a block's metrics in the order of UNITS; one without values is left out."""
    for metric in UNITS:
        if metric in block.figures and block.figures[metric].count:
            yield metric, block.figures[metric]


def _dimension(name: str | None) -> str:
    """Return a name as CloudWatch takes it: printable ASCII, not empty, no colon first, at most 255 characters."""
    text = "".join(each if " " <= each <= "~" else "?" for each in (name or "").strip())
    return text.lstrip(":") or _NO_NAME
