"""Triton's models: which are ready, and what its statistics say of each.

    POST /v2/repository/index   [{"name", "version", "state", "reason"}]
    GET  /v2/models/stats       {"model_stats": [{"name", "version", "last_inference", "inference_count",
                                                  "execution_count", "inference_stats": {...}}]}

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources.http_source import fetch_json

_MAX_MODELS = 500
_STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
_NS = 1e9
_MS = 1e3
_Number = Annotated[int, Field(ge=0, lt=2**64)]


class _Part(BaseModel):
    """One part of an answer; what is not known is ignored."""


class _Spent(_Part):
    count: _Number = 0
    ns: _Number = 0


class _Inference(_Part):
    success: _Spent = _Spent()
    fail: _Spent = _Spent()
    queue: _Spent = _Spent()
    compute_input: _Spent = _Spent()
    compute_infer: _Spent = _Spent()
    compute_output: _Spent = _Spent()


class _Statistics(_Part):
    name: str
    version: str
    last_inference: _Number = 0
    inference_count: _Number = 0
    execution_count: _Number = 0
    inference_stats: _Inference = _Inference()


class _AllStatistics(_Part):
    model_stats: list[_Statistics]


class _Indexed(_Part):
    name: str
    version: str = ""
    state: str = ""


_INDEX = TypeAdapter(list[_Indexed])


@dataclass
class TritonModelsSource:
    """What Triton's HTTP port says of its models; `target` is its base address."""

    target: str
    client: httpx.AsyncClient
    period_s: float
    timeout_s: float
    body_bytes: int
    name: str = "triton-models"

    async def read(self) -> Sequence[Metric]:
        """Return readiness and statistics by model and version; raises NoMetrics, httpx.HTTPError."""
        # One after the other: of two side by side, the one that hangs would outlive the one that fails.
        index = await fetch_json(
            self.client, f"{self.target}/v2/repository/index", max_bytes=self.body_bytes, method="POST"
        )
        statistics = await fetch_json(self.client, f"{self.target}/v2/models/stats", max_bytes=self.body_bytes)
        return families(index, statistics)


def families(index: Any, statistics: Any) -> list[Metric]:
    """Return the metrics of both answers; raises NoMetrics where they are not Triton's."""
    try:
        models = _INDEX.validate_python(index)[:_MAX_MODELS]
        known = _AllStatistics.model_validate(statistics).model_stats[:_MAX_MODELS]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise NoMetrics(f"Triton's answer is not what it should be: {place}: {first['msg']}") from None
    return [_ready(models), *_counted(known)]


def _ready(models: list[_Indexed]) -> Metric:
    ready = GaugeMetricFamily(
        "lineside_triton_model_ready",
        "1 where Triton serves the version; a model that it does not serve has no version.",
        labels=["model", "version"],
    )
    for model in models:
        ready.add_metric([model.name, model.version], float(model.state == "READY"))
    return ready


def _counted(models: list[_Statistics]) -> list[Metric]:
    labels = ["model", "version"]
    requests = CounterMetricFamily(
        "lineside_triton_model_requests", "Requests that Triton answered, by outcome.", labels=[*labels, "outcome"]
    )
    inferences = CounterMetricFamily(
        "lineside_triton_model_inferences", "Inferences; a batch of n counts n times.", labels=labels
    )
    executions = CounterMetricFamily(
        "lineside_triton_model_executions", "Runs of the model; a batch counts once.", labels=labels
    )
    seconds = CounterMetricFamily(
        "lineside_triton_model_stage_seconds", "Time that requests spent in a stage.", labels=[*labels, "stage"]
    )
    last = GaugeMetricFamily(
        "lineside_triton_model_last_inference_timestamp_seconds",
        "When the last inference was, by Triton's clock; absent before the first.",
        labels=labels,
    )
    for model in models:
        whose, spent = [model.name, model.version], model.inference_stats
        requests.add_metric([*whose, "success"], spent.success.count)
        requests.add_metric([*whose, "fail"], spent.fail.count)
        inferences.add_metric(whose, model.inference_count)
        executions.add_metric(whose, model.execution_count)
        for stage in _STAGES:
            seconds.add_metric([*whose, stage], getattr(spent, stage).ns / _NS)
        if model.last_inference:
            last.add_metric(whose, model.last_inference / _MS)
    return [requests, inferences, executions, seconds, last]
