"""Metrics of the reports to CloudWatch."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

_OWN = "lineside_exporter_cloudwatch"

CALLS = ("sent", "throttled", "failed", "not-allowed", "refused")
DROPPED = ("series", "backlog", "too-old", "refused", "unreadable")


class Metrics:
    """Counted since the start."""

    def __init__(
        self, registry: CollectorRegistry, *, waiting: Callable[[], float], series: Callable[[], float]
    ) -> None:
        self.results = Counter(f"{_OWN}_results_total", "Results that were counted into a period.", registry=registry)
        self.sent = Counter(
            f"{_OWN}_sent_results_total", "Results whose figures CloudWatch has taken.", registry=registry
        )
        self._dropped = Counter(
            f"{_OWN}_dropped_results_total",
            "Results whose figures are not sent, by why.",
            ["reason"],
            registry=registry,
        )
        self._calls = Counter(
            f"{_OWN}_calls_total",
            "Calls of PutMetricData, or messages to the component, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        for reason in DROPPED:
            self._dropped.labels(reason)
        for outcome in CALLS:
            self._calls.labels(outcome)
        Gauge(f"{_OWN}_waiting_periods", "Periods that wait to be sent.", registry=registry).set_function(waiting)
        Gauge(f"{_OWN}_series", "Pairs of station and model that are sent.", registry=registry).set_function(series)

    def dropped(self, reason: str, results: int = 1) -> None:
        """Count results that are not sent."""
        self._dropped.labels(reason).inc(results)

    def call(self, outcome: str, calls: int = 1) -> None:
        """Count calls."""
        self._calls.labels(outcome).inc(calls)
