"""What heartbeats say of devices, as drift compares it. Pure."""

from collections.abc import Iterator, Mapping

from lineside.heartbeats import Heartbeat
from lineside_fleet.drift.comparing import Heard, Models, Said
from lineside_fleet.heartbeats.counting import Latest
from lineside_fleet.heartbeats.report import Rules, window_s

_UP = "InferenceServiceUp"
DEPLOYER = "deployer"
"""The service that sends heartbeats."""


def heard(devices: Mapping[str, Latest], now: float, rules: Rules) -> dict[str, Heard]:
    """Return each device's latest heartbeat; `now` is in seconds since 1970. An old one says nothing but its age."""
    found = {}
    for name, latest in devices.items():
        age, allowed = now - latest.moment, window_s(latest, rules)
        told = latest.heartbeat
        said = Said(services={DEPLOYER: told.AgentVersion}, models=_models(told))
        made = Heard(age, allowed, said, tuple(_complaints(told)))
        found[name] = Heard(age, allowed) if made.is_old else made
    return found


def joined(report: Said, heard: Heard | None) -> Said:
    """Return what a device says by both ways; a heartbeat counts before a report, which says not when it was."""
    if heard is None:
        return report
    models = heard.said.models if heard.said.models is not None else report.models
    return Said(report.settings, {**report.services, **heard.said.services}, models)


def _models(told: Heartbeat) -> Models | None:
    """Return the versions of each model; None where the inference service did not answer, and nothing is known."""
    if not told.Models and not _is_up(told):
        return None
    versions: dict[str, frozenset[str]] = {}
    for each in told.Models:
        versions[each.ModelName] = versions.get(each.ModelName, frozenset()) | {each.ModelVersion}
    return versions


def _is_up(told: Heartbeat) -> bool:
    return any(each.MetricName == _UP and each.Value for each in told.AgentMetrics)


def _complaints(told: Heartbeat) -> Iterator[tuple[str, str]]:
    if any(each.MetricName == _UP and not each.Value for each in told.AgentMetrics):
        yield "inference", "the inference service does not answer"
    result = told.DeploymentResult
    if result is not None and result.DeploymentStatus == "FAIL":
        yield result.DeploymentName, f"its deployment failed: {result.DeploymentStatusMessage or 'no reason'}"
