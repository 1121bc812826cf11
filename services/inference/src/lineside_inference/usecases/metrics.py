"""What the inference service counts; every label is bounded by the configuration or by the code."""

from collections.abc import Callable, Container, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.contract import Outcome, Result, Timing
from lineside_inference.dataplane.judged import Judged

_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5),
)
"""Edges at what people take for a limit: how many parts are over one is all that a histogram knows exactly."""
_CONFIDENCES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_STAGES = tuple(Timing.model_fields)
_OTHER = "other"
_MAX_LABELS = 64
"""Labels of one model that are told apart; cards bound them, this bounds the cards."""


class Metrics:
    """The counters and histograms; `models` are the names that may be a label, anything else is `other`."""

    def __init__(self, registry: CollectorRegistry, models: Container[str]) -> None:
        self._models = models
        self._requests = Counter(
            "lineside_inference_requests_total",
            "Requests answered with a Result, by model and the Result's status.",
            ["model", "status"],
            registry=registry,
        )
        self._verdicts = Counter(
            "lineside_inference_verdicts_total", "Verdicts given.", ["model", "verdict"], registry=registry
        )
        self._outcomes = Counter(
            "lineside_inference_outcomes_total",
            "Parts by what the PLC got, as the opcua-bridge told: pass, fail, unknown, or none; and who decided it.",
            ["model", "verdict", "origin"],
            registry=registry,
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
        self._confidences = Histogram(
            "lineside_inference_confidence_ratio",
            "Confidence of the surest finding, or of the best label where nothing was found.",
            ["model", "label"],
            buckets=_CONFIDENCES,
            registry=registry,
        )
        self._confidence: dict[tuple[str, str], Histogram] = {}
        self._source_age = Histogram(
            "lineside_inference_source_age_seconds",
            "Age of a camera's frame when the request took it.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.repeats = Counter(
            "lineside_inference_repeats_total",
            "Requests answered from memory because their id was asked before.",
            registry=registry,
        )

    def answered(self, judged: Judged) -> None:
        """Count one Result."""
        result, model = judged.result, judged.request.model
        label = model if model in self._models else _OTHER
        self._requests.labels(label, result.status).inc()
        self._verdicts.labels(label, result.verdict).inc()
        if result.code is not None:
            self._refusals.labels(result.code).inc()
        for stage, metric in self._stage.items():
            spent = getattr(result.timing_ms, stage)
            if spent is not None:
                metric.observe(spent / 1000)
        if result.frame_age_ms is not None:
            self._source_age.observe(result.frame_age_ms / 1000)
        if result.status == "ok":
            self._judged(result, label)

    def concluded(self, outcome: Outcome) -> None:
        """Count what the PLC got for a part."""
        label = outcome.model if outcome.model in self._models else _OTHER
        self._outcomes.labels(label, outcome.verdict or "none", outcome.origin).inc()

    def _judged(self, result: Result, model: str) -> None:
        if result.findings:
            best, confidence = result.findings[0].label, result.findings[0].confidence
        elif result.scores:
            best, confidence = max(result.scores.items(), key=lambda pair: pair[1])
        else:
            return
        metric = self._confidence.get((model, best))
        if metric is None:
            if sum(1 for known, _ in self._confidence if known == model) >= _MAX_LABELS:
                best = _OTHER
            metric = self._confidence[model, best] = self._confidences.labels(model, best)
        metric.observe(confidence)

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
        """Yield the gauges; the transport's has no sample until Triton was reached."""
        load = GaugeMetricFamily("lineside_inference_load_requests", "Requests in the service.", labels=["state"])
        for state, count in self._requests().items():
            load.add_metric([state], count)
        yield load
        slots = GaugeMetricFamily("lineside_inference_arena_slots", "Slots of the tensors' memory.", labels=["state"])
        for state, count in self._slots().items():
            slots.add_metric([state], count)
        yield slots
        used = self._transport()
        transports = GaugeMetricFamily(
            "lineside_inference_engine_transport_info", "1 for the transport to Triton.", labels=["transport"]
        )
        for transport in ("shared-memory", "bytes") if used is not None else ():
            transports.add_metric([transport], float(transport == used))
        yield transports
