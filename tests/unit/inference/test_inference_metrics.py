from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from lineside.contract import CameraSource, Finding, Request, Result
from lineside.service import Service
from lineside_inference.__main__ import build
from lineside_inference.dataplane.judged import Judged
from lineside_inference.settings import Settings
from lineside_inference.usecases.metrics import Metrics
from tests.support.paths import ROOT


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def result(**fields: Any) -> Result:
    return Result(**{"id": "r", "request_id": "q", "status": "ok", "verdict": "fail", "reason": "x"} | fields)


def judged(result: Result, model: str) -> Judged:
    return Judged(Request.new(model=model, source=CameraSource(camera="c")), result)


def test_the_names_are_a_public_contract(golden: Callable[[str, str], None]) -> None:
    section = {
        "model_repository": ROOT / "models",
        "triton": {"shared_memory": "off"},
        "cameras": {"camera": {"url": "http://camera/"}},
        "history": {"folder": "history"},
    }
    service = Service("inference")
    build(Settings.model_validate({"inference": section}), service)
    lines = set()
    for collector in set(service.registry._collector_to_names):
        names = collector._labelnames if isinstance(collector, MetricWrapperBase) else None
        for family in collector.collect():
            found = {name for sample in family.samples for name in sample.labels}
            labels = names if names is not None else sorted(found or getattr(family, "_labelnames", ()))
            name = family.name + ("_total" if family.type == "counter" else "")
            if name.startswith("lineside_"):
                lines.add(f"{name} {family.type} {','.join(labels)}{buckets(collector)}".rstrip())
    golden("metrics/inference.txt", "".join(f"{line}\n" for line in sorted(lines)))


def buckets(collector: Any) -> str:
    bounds = getattr(collector, "_upper_bounds", None) or getattr(collector, "_kwargs", {}).get("buckets")
    return f" le={','.join(f'{bound:g}' for bound in bounds if bound != float('inf'))}" if bounds else ""


def test_confidence_is_that_of_the_surest_finding_else_of_the_best_label(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, ["m"])
    metrics.answered(judged(result(findings=(Finding(label="pit", confidence=0.7),), scores={"good": 0.9}), "m"))
    metrics.answered(judged(result(verdict="pass", scores={"pit": 0.1, "good": 0.9}), "m"))
    metrics.answered(judged(result(status="failed", verdict="unknown", code="c", scores={"pit": 0.1}), "m"))
    for label, total in (("pit", 0.7), ("good", 0.9)):
        where = {"model": "m", "label": label}
        assert registry.get_sample_value("lineside_inference_confidence_ratio_sum", where) == pytest.approx(total)
        assert registry.get_sample_value("lineside_inference_confidence_ratio_count", where) == 1


def test_labels_stay_bounded_whatever_is_asked(registry: CollectorRegistry) -> None:
    metrics = Metrics(registry, ["m"])
    for number in range(500):
        metrics.answered(judged(result(scores={f"label-{number}": 0.5}), f"model-{number}"))
    metrics.answered(judged(result(scores={"x": 0.5}), "m"))
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.labels["model"] for sample in samples if "model" in sample.labels} == {"m", "other"}
    assert len({sample.labels["label"] for sample in samples if "label" in sample.labels}) == 64 + 2
