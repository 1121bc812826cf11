"""What every source said last: kept while it is fresh, joined when somebody asks."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside_exporter.exposition import CONFLICT, REASONS
from lineside_exporter.source import Family, Reading, Source


@dataclass
class _Shelf:
    """One source's place."""

    max_s: float
    families: Sequence[Family] = ()
    read_at: float | None = None
    """When the last reading began; None while the source is away."""
    seconds: float | None = None


class ReadingCache(Collector):
    """The last reading of each source, and their health as metrics.

    A reading is shown until the next one, until the source fails, or until it is older than its source's pace allows.
    Where two sources give one metric different types, whoever was there first keeps it.
    """

    def __init__(self, registry: CollectorRegistry, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._shelves: dict[str, _Shelf] = {}
        self._reserved: Mapping[str, str] = {}
        self._dropped = Counter(
            "lineside_exporter_series_dropped_total",
            "Series of a source that are not shown, by why, counted at each reading.",
            ["source", "reason"],
            registry=registry,
        )
        registry.register(self)

    def add(self, source: Source) -> None:
        """Make a place for a source."""
        self._shelves[source.name] = _Shelf(max_s=source.period_s + 2 * source.timeout_s)
        for reason in REASONS:
            self._dropped.labels(source.name, reason)

    def reserve(self, kinds: Mapping[str, str]) -> None:
        """Keep names for the exporter's own metrics: whoever has one with another type is not shown with it."""
        self._reserved = dict(kinds)

    def put(self, name: str, reading: Reading, *, began: float) -> None:
        """Take a source's reading, and when it began."""
        taken = dict(self._reserved)
        for other, shelf in self._shelves.items():
            if other != name:
                taken |= {family.name: family.kind for family in shelf.families}
        shown = []
        for family in reading.families:
            if taken.get(family.name, family.kind) == family.kind:
                shown.append(family)
            else:
                reading.dropped[CONFLICT] += len(family.lines)
        for reason, count in reading.dropped.items():
            self._dropped.labels(name, reason).inc(count)
        shelf = self._shelves[name]
        shelf.families, shelf.read_at, shelf.seconds = tuple(shown), began, self._now() - began

    def clear(self, name: str) -> None:
        """Say that a source is away: what it said last is shown no more."""
        shelf = self._shelves[name]
        shelf.families, shelf.read_at, shelf.seconds = (), None, None

    def families(self, name: str) -> Sequence[Family]:
        """Return what a source says now, nothing where it is away."""
        shelf = self._shelves.get(name)
        return shelf.families if shelf is not None and self._age(shelf) is not None else ()

    def readings(self) -> Iterator[Sequence[Family]]:
        """Yield what each source says now."""
        for name in list(self._shelves):
            yield self.families(name)

    def collect(self) -> Iterator[Metric]:
        """Yield whether each source is there, how long its reading took, how old it is."""
        up = GaugeMetricFamily(
            "lineside_exporter_source_up", "1 while the source is read, 0 while it is away.", labels=["source"]
        )
        seconds = GaugeMetricFamily(
            "lineside_exporter_source_seconds",
            "How long the last reading took; absent while away.",
            labels=["source"],
        )
        age = GaugeMetricFamily(
            "lineside_exporter_source_age_seconds",
            "How old the reading shown is; absent while away.",
            labels=["source"],
        )
        for name, shelf in list(self._shelves.items()):
            old, took = self._age(shelf), shelf.seconds
            up.add_metric([name], float(old is not None))
            if old is not None and took is not None:
                seconds.add_metric([name], took)
                age.add_metric([name], old)
        yield from (up, seconds, age)

    def _age(self, shelf: _Shelf) -> float | None:
        """Return the age of a reading, None where there is none that may be shown."""
        began = shelf.read_at
        age = self._now() - began if began is not None else None
        return age if age is not None and age <= shelf.max_s else None
