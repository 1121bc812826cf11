"""What is counted of the history; what cannot be known is left out."""

from prometheus_client import CollectorRegistry, Counter, Gauge

KINDS = ("written", "completed", "repeated", "conflicting", "queue_full", "unwritable", "unwaited")


class HistoryMetrics:
    """The counters and gauges; there are none where no history is kept."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._parts = Counter(
            "lineside_inference_history_parts_total",
            "Parts told to the history, by what became of it: written; completed (the other half came later); "
            "repeated; conflicting (a second outcome, which does not count); queue_full and unwritable (not recorded); "
            "unwaited (acknowledged before they were on the disk).",
            ["kind"],
            registry=registry,
        )
        for kind in KINDS:
            self._parts.labels(kind)
        self.waiting = Gauge(
            "lineside_inference_history_waiting_parts", "Parts that wait for the history's disk.", registry=registry
        )
        self.bytes = Gauge("lineside_inference_history_bytes", "Bytes of the history on the disk.", registry=registry)
        self.damaged = Gauge(
            "lineside_inference_history_damaged_files",
            "Files of the history that were found damaged and set aside.",
            registry=registry,
        )

    def count(self, kind: str, by: int = 1) -> None:
        """Count parts by what became of them."""
        self._parts.labels(kind).inc(by)
