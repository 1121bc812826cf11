"""What is counted of evidence on its way to the disk; the labels are bounded by the configuration or by the code."""

from collections.abc import Container, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram

from lineside.spool import Kept

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_OTHER = "other"


class CaptureMetrics:
    """The counters and the histogram; `models` and `others` are the names that may be a label, else it is `other`."""

    def __init__(self, registry: CollectorRegistry, models: Container[str], others: Iterable[str] = ()) -> None:
        self._models = models
        self._others = frozenset(others)
        self._captures = Counter(
            "lineside_inference_captures_total",
            "Captures that are on the disk, by model and why they are kept.",
            ["model", "kept"],
            registry=registry,
        )
        self._dropped = Counter(
            "lineside_inference_captures_dropped_total",
            "Captures that were to be kept and are not, by reason.",
            ["reason"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lineside_inference_capture_seconds",
            "Time from the verdict, or the client's request, until the capture was on the disk.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.dropped_by_reason: dict[str, int] = {}

    def kept(self, model: str, kept: Kept, seconds: float) -> None:
        """Count one capture that is on the disk."""
        self._captures.labels(model if model in self._models or model in self._others else _OTHER, kept).inc()
        self._seconds.observe(seconds)

    def dropped(self, reason: str, count: int = 1) -> None:
        """Count captures that are lost."""
        self._dropped.labels(reason).inc(count)
        self.dropped_by_reason[reason] = self.dropped_by_reason.get(reason, 0) + count
