"""What the forwarder counts, and what it shows of the spool."""

import time
from collections.abc import Callable, Collection, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.spool import DestinationStatus, Status

_OWN = "lineside_forwarder"


class Metrics:
    """What the forwarder counts itself, since it started."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._failures = Counter(
            f"{_OWN}_failures_total",
            "Deliveries of a batch that failed and are repeated, by cause.",
            ["destination", "cause"],
            registry=registry,
        )
        self._alarm = Gauge(
            f"{_OWN}_alarm",
            "1 while somebody has to change something for evidence to leave; the destination's detail says what.",
            ["destination", "reason"],
            registry=registry,
        )
        self.sealed = Counter(f"{_OWN}_sealed_batches_total", "Batches made of waiting records.", registry=registry)
        self._reasons: dict[str, set[str]] = {}

    def failed(self, destination: str, cause: str) -> None:
        """Count a failed delivery."""
        self._failures.labels(destination, cause).inc()

    def alarms(self, destination: str, reasons: Collection[str]) -> None:
        """Raise these alarms of a destination, and end all others that it had."""
        for reason in self._reasons.get(destination, set()).union(reasons):
            self._alarm.labels(destination, reason).set(reason in reasons)
        self._reasons[destination] = set(reasons)


class SpoolCollector(Collector):
    """Exports the spool's last status; nothing where that is too old, so that old figures are not taken for new."""

    LONGEST_S = 30.0

    def __init__(self, now_ms: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._last: tuple[Status, float] | None = None

    def put(self, status: Status) -> None:
        """Take what the spool says now."""
        self._last = status, self._monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield the spool's figures, then each destination's."""
        last, now_ms = self._last, self._now_ms()
        status = last[0] if last and self._monotonic() - last[1] <= self.LONGEST_S else None
        yield from _spool(status, now_ms)
        yield from _destinations(status, now_ms)


def _spool(status: Status | None, now_ms: int) -> Iterator[Metric]:
    found = [status] if status else []
    for name, text, value in (
        ("spool_records", "Records in the spool.", lambda one: one.records),
        ("spool_bytes", "Bytes of evidence in the spool.", lambda one: one.bytes),
        ("spool_limit_bytes", "Bytes of evidence that may be in the spool.", lambda one: one.max_bytes),
        ("spool_free_bytes", "Free bytes of the spool's disk.", lambda one: one.free_bytes),
        ("spool_unsealed_records", "Records that belong to no batch yet.", lambda one: one.unsealed),
        ("spool_oldest_seconds", "Age of the oldest record that waits; 0: none does.", lambda one: _age(one, now_ms)),
    ):
        gauge = GaugeMetricFamily(f"{_OWN}_{name}", text)
        for one in found:
            gauge.add_metric([], value(one))
        yield gauge
    for name, text, label, counts in (
        ("spool_dropped_records", "Records dropped from the spool, by reason.", "reason", status and status.dropped),
        ("spool_quarantined", "What was found damaged in the spool.", "what", status and status.quarantined),
    ):
        counter = CounterMetricFamily(f"{_OWN}_{name}", text, labels=[label])
        for reason, count in sorted((counts or {}).items()):
            counter.add_metric([reason], count)
        yield counter


def _destinations(status: Status | None, now_ms: int) -> Iterator[Metric]:
    found = status.destinations if status else []
    for name, text, value in (
        ("waiting_records", "Records that wait for the destination.", lambda one: one.waiting_records),
        ("waiting_bytes", "Bytes that wait for the destination.", lambda one: one.waiting_bytes),
        ("waiting_oldest_seconds", "Age of the oldest that waits; 0: none does.", lambda one: _age(one, now_ms)),
        ("dead_batches", "Batches that the destination refused for good.", lambda one: one.dead),
    ):
        gauge = GaugeMetricFamily(f"{_OWN}_{name}", text, labels=["destination"])
        for one in found:
            gauge.add_metric([one.name], value(one))
        yield gauge
    for name, text, value in (
        ("delivered_records", "Records that the destination has taken.", lambda one: one.delivered_records),
        ("delivered_bytes", "Bytes that the destination has taken.", lambda one: one.delivered_bytes),
    ):
        counter = CounterMetricFamily(f"{_OWN}_{name}", text, labels=["destination"])
        for one in found:
            counter.add_metric([one.name], value(one))
        yield counter


def _age(one: Status | DestinationStatus, now_ms: int) -> float:
    return 0.0 if one.oldest_ms is None else max(0.0, (now_ms - one.oldest_ms) / 1000)
