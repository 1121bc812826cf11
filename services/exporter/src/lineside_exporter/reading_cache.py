"""The last reading of every source, kept while it is fresh."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside_exporter.exposition import CONFLICT, REASONS
from lineside_exporter.sources.source import Family, Reading, Source


@dataclass
class _Entry:
    """One source's last reading; it is shown up to an age of `max_s` seconds."""

    max_s: float
    families: Sequence[Family] = ()
    read_at: float | None = None
    """When the last reading began; None while the source is away."""
    seconds: float | None = None


class ReadingCache(Collector):
    """The last reading of each source, and their health as metrics.

    A reading is shown until the next one, until the source fails, or until it is older than its source's period and
    time-outs allow. Where two sources give one metric different types, the first keeps it.
    """

    def __init__(self, registry: CollectorRegistry, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._entries: dict[str, _Entry] = {}
        self._reserved: Mapping[str, str] = {}
        self._dropped = Counter(
            "lineside_exporter_series_dropped_total",
            "Series of a source that are not shown, by why, counted at each reading.",
            ["source", "reason"],
            registry=registry,
        )
        registry.register(self)

    def add(self, source: Source) -> None:
        """Make an empty entry for a source."""
        self._entries[source.name] = _Entry(max_s=source.period_s + 2 * source.timeout_s)
        for reason in REASONS:
            self._dropped.labels(source.name, reason)

    def reserve(self, kinds: Mapping[str, str]) -> None:
        """Keep names for the exporter's own metrics: a source's metric of that name and another type is not shown."""
        self._reserved = dict(kinds)

    def put(self, name: str, reading: Reading, *, began: float) -> None:
        """Replace a source's reading; `began` is when it began, on this cache's clock in seconds."""
        taken = dict(self._reserved)
        for other, entry in self._entries.items():
            if other != name:
                taken |= {family.name: family.kind for family in entry.families}
        shown = []
        for family in reading.families:
            if taken.get(family.name, family.kind) == family.kind:
                shown.append(family)
            else:
                reading.dropped[CONFLICT] += len(family.lines)
        for reason, count in reading.dropped.items():
            self._dropped.labels(name, reason).inc(count)
        entry = self._entries[name]
        entry.families, entry.read_at, entry.seconds = tuple(shown), began, self._now() - began

    def clear(self, name: str) -> None:
        """Remove a source's reading, since it is away."""
        entry = self._entries[name]
        entry.families, entry.read_at, entry.seconds = (), None, None

    def families(self, name: str) -> Sequence[Family]:
        """Return the families of a source's reading; none where it is away or its reading too old."""
        entry = self._entries.get(name)
        return entry.families if entry is not None and self._age(entry) is not None else ()

    def readings(self) -> Iterator[Sequence[Family]]:
        """Yield the families of each source."""
        for name in list(self._entries):
            yield self.families(name)

    def collect(self) -> Iterator[Metric]:
        """Yield whether each source is up, how long its reading took, how old it is."""
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
        for name, entry in list(self._entries.items()):
            old, took = self._age(entry), entry.seconds
            up.add_metric([name], float(old is not None))
            if old is not None and took is not None:
                seconds.add_metric([name], took)
                age.add_metric([name], old)
        yield from (up, seconds, age)

    def _age(self, entry: _Entry) -> float | None:
        """Return the age of a reading, None where there is none that may be shown."""
        began = entry.read_at
        age = self._now() - began if began is not None else None
        return age if age is not None and age <= entry.max_s else None
