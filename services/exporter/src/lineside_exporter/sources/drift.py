"""Drift: which models and components are not the desired ones, and why.

A model's desired version is the one that the policy in force names, or its card where that names none; what
`exporter.desired` names counts before both. Of what is away nothing is known: it has no drift.

    GET /v1/models   {"models": [{"name", "version", "wanted", "detail", "refused": {"version", "reason"}}]}
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.core import GaugeMetricFamily, Metric
from pydantic import BaseModel, ValidationError

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources.http_source import fetch_json
from lineside_exporter.sources.source import Family

_LONGEST_WHY = 200
_MAX_MODELS = 500
_VERSION = re.compile(r'[{,]version="([^"\\]+)"')


@dataclass(frozen=True)
class Compared:
    """One thing as it should be and as it is; `why` says what is known of a difference."""

    name: str
    desired: str
    actual: str
    why: str = ""

    @property
    def drifts(self) -> bool:
        """Whether it is not what it should be."""
        return self.desired != self.actual


class _Refused(BaseModel):
    version: str
    reason: str


class _Model(BaseModel):
    name: str
    version: str | None
    wanted: str
    detail: str = ""
    refused: _Refused | None = None


class _Models(BaseModel):
    models: list[_Model]


@dataclass
class ModelDriftSource:
    """The models of the inference service; `target` is its `/v1/models`."""

    target: str
    client: httpx.AsyncClient
    desired: Mapping[str, str]
    period_s: float
    timeout_s: float
    body_bytes: int
    auth: httpx.Auth | None = None
    name: str = "models"

    async def read(self) -> Sequence[Metric]:
        """Return the drift of each model; raises NoMetrics, httpx.HTTPError."""
        document = await fetch_json(self.client, self.target, max_bytes=self.body_bytes, auth=self.auth)
        return families("model", models(document, self.desired))


@dataclass
class ComponentDriftSource:
    """The services' versions, as they say them of themselves."""

    shown: Callable[[str], Iterable[Family]]
    desired: Mapping[str, str]
    period_s: float
    timeout_s: float
    name: str = "components"
    target: str = "the services' build information"

    async def read(self) -> Sequence[Metric]:
        """Return the drift of each component that is there."""
        found = []
        for name, desired in self.desired.items():
            actual = version_of(name, self.shown(name))
            if actual is not None:
                found.append(Compared(name, desired, actual, "" if actual == desired else "another version runs"))
        return families("component", found)


def models(document: Any, desired: Mapping[str, str]) -> list[Compared]:
    """Return every model of the answer compared; raises NoMetrics where it is not the service's.

    A model that is desired by the settings and unknown to the service is compared too.
    """
    try:
        known = _Models.model_validate(document).models[:_MAX_MODELS]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise NoMetrics(f"/v1/models is not what it should be: {place}: {first['msg']}") from None
    compared = [_model(each, desired.get(each.name, each.wanted)) for each in known]
    missing = sorted(set(desired) - {each.name for each in known})
    return compared + [
        Compared(name, desired[name], "none", "the inference service knows no such model") for name in missing
    ]


def _model(model: _Model, desired: str) -> Compared:
    actual = model.version or "none"
    if actual == desired:
        return Compared(model.name, desired, actual)
    if model.refused is not None and model.refused.version == desired:
        why = model.refused.reason
    elif model.wanted != desired:
        why = f"the policy in force names {model.wanted}"
    else:
        why = model.detail or "not loaded"
    return Compared(model.name, desired, actual, why)


def version_of(name: str, shown: Iterable[Family]) -> str | None:
    """Return the version that a service says in its `lineside_<service>_build_info`, None where it does not."""
    wanted = f"lineside_{name.replace('-', '_')}_build_info"
    for family in shown:
        if family.name == wanted and (match := _VERSION.search("".join(family.lines))):
            return match[1]
    return None


def families(kind: str, compared: Iterable[Compared]) -> list[Metric]:
    """Return `lineside_drift` of each, and `lineside_drift_info` of those that drift."""
    drift = GaugeMetricFamily(
        "lineside_drift",
        "1 where a model or component is not of the version that it should be, 0 where it is.",
        labels=["kind", "name"],
    )
    info = GaugeMetricFamily(
        "lineside_drift_info",
        "1 while it drifts: the versions, and why.",
        labels=["kind", "name", "desired", "actual", "why"],
    )
    for each in compared:
        drift.add_metric([kind, each.name], float(each.drifts))
        if each.drifts:
            why = " ".join(each.why.split())[:_LONGEST_WHY]
            info.add_metric([kind, each.name, each.desired, each.actual, why], 1.0)
    return [drift, info]
