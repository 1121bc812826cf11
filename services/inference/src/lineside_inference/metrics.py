"""What the inference service counts; every label is bounded by the configuration or by the code."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.contract import Result, Timing

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
_STAGES = tuple(Timing.model_fields)


class Metrics:
    """The counters and histograms; `models` are the names that may be a label, anything else is `other`."""

    def __init__(self, registry: CollectorRegistry, models: list[str]) -> None:
        self._models = frozenset(models)
        self._requests = Counter(
            "lineside_inference_requests_total",
            "Requests answered with a Result, by model and the Result's status.",
            ["model", "status"],
            registry=registry,
        )
        self._verdicts = Counter(
            "lineside_inference_verdicts_total", "Verdicts given.", ["model", "verdict"], registry=registry
        )
        self._refusals = Counter(
            "lineside_inference_refusals_total",
            "Results without a judgement and HTTP problems, by code.",
            ["code"],
            registry=registry,
        )
        self._stages = Histogram(
            "lineside_inference_stage_seconds",
            "Time that each stage of a request took.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage = {stage: self._stages.labels(stage) for stage in _STAGES}
        self.repeats = Counter(
            "lineside_inference_repeats_total",
            "Requests answered from memory because their id was asked before.",
            registry=registry,
        )

    def answered(self, result: Result, model: str) -> None:
        """Count one Result."""
        label = model if model in self._models else "other"
        self._requests.labels(label, result.status).inc()
        self._verdicts.labels(label, result.verdict).inc()
        if result.code is not None:
            self._refusals.labels(result.code).inc()
        for stage, metric in self._stage.items():
            spent = getattr(result.timing_ms, stage)
            if spent is not None:
                metric.observe(spent / 1000)

    def refused(self, code: str) -> None:
        """Count one HTTP problem."""
        self._refusals.labels(code).inc()


class LoadCollector(Collector):
    """What is in the service now: requests, slots, and the transport to Triton, read when asked."""

    def __init__(
        self,
        requests: Callable[[], dict[str, int]],
        slots: Callable[[], dict[str, int]],
        transport: Callable[[], str | None],
    ) -> None:
        self._requests = requests
        self._slots = slots
        self._transport = transport

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges; the transport's is absent until Triton was reached."""
        load = GaugeMetricFamily("lineside_inference_load_requests", "Requests in the service.", labels=["state"])
        for state, count in self._requests().items():
            load.add_metric([state], count)
        yield load
        slots = GaugeMetricFamily("lineside_inference_arena_slots", "Slots of the tensors' memory.", labels=["state"])
        for state, count in self._slots().items():
            slots.add_metric([state], count)
        yield slots
        used = self._transport()
        if used is not None:
            transports = GaugeMetricFamily(
                "lineside_inference_engine_transport_info", "1 for the transport to Triton.", labels=["transport"]
            )
            for transport in ("shared-memory", "bytes"):
                transports.add_metric([transport], float(transport == used))
            yield transports
