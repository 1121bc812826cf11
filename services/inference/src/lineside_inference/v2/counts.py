"""What the v2 routes count: requests by model and HTTP status, and how long the good ones took."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_MAX_MODELS = 128
_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Counts:
    """The counters; a model becomes a label once it has answered, and beyond the bound is `other`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: set[str] = set()
        self._requests = Counter(
            "lineside_inference_v2_requests_total",
            "Inference requests of the Open Inference Protocol, by model and HTTP status.",
            ["model", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lineside_inference_v2_seconds",
            "Time from the first byte of a v2 inference request to its answer, of the good ones.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count one inference request."""
        if status < 400 and len(self._models) < _MAX_MODELS:  # noqa: PLR2004 - HTTP's first error
            self._models.add(model)
        label = model if model in self._models else "other"
        self._requests.labels(label, str(status)).inc()
        if status < 400:  # noqa: PLR2004 - same
            self._seconds.labels(label).observe(seconds)
