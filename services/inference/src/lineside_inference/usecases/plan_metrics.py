"""What is counted of the engines that are built here."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class PlanMetrics:
    """The counters; there only where engines are built."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self.builds = Counter(
            "lineside_inference_plan_builds_total",
            "TensorRT engines that were to be built here, by what came of it: built or failed.",
            ["outcome"],
            registry=registry,
        )
        self.seconds = Counter(
            "lineside_inference_plan_build_seconds_total",
            "Time that trtexec ran for them, not counting pauses.",
            registry=registry,
        )
        self.hits = Counter(
            "lineside_inference_plan_hits_total",
            "Times that an engine was in the cache when its model came into force or Triton came back.",
            registry=registry,
        )
        self.refused = Counter(
            "lineside_inference_plan_refusals_total",
            "Engines that were not put into service: damaged, not loaded by Triton, or other outputs than ONNX's.",
            ["why"],
            registry=registry,
        )
        self.fallbacks = Counter(
            "lineside_inference_plan_fallbacks_total",
            "Times that ONNX judged again because an engine failed or Triton lost it.",
            ["model"],
            registry=registry,
        )
        self.bytes = Gauge(
            "lineside_inference_plan_cache_bytes", "Bytes of the engines in the cache.", registry=registry
        )
