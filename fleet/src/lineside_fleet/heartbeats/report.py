"""The report of a fleet, in the form of Edge Manager's GetDeviceFleetReport.

connected   the latest heartbeat is not older than `periods` of the device's own periods
offline     a device that is not connected, and had the model in its latest heartbeat
active      connected, and the model was asked within as many periods before that heartbeat
sampling    connected, and a capture of the model was kept within as many periods before it

Active and sampling compare two times of one device, so a clock that is wrong moves neither. A model of several versions
on a device counts for each.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lineside.heartbeats import ModelState
from lineside_fleet.heartbeats.counting import Latest

NEVER_SAID_S = 300.0
"""The period of a device whose heartbeat says none."""


@dataclass(frozen=True)
class Rules:
    """When a device counts as connected: so many periods; `period_s` where its heartbeat says none."""

    periods: float = 3.0
    period_s: float = NEVER_SAID_S


@dataclass(frozen=True)
class Report:
    """The report's document, and what a person should look at."""

    document: dict[str, Any]
    remarks: tuple[str, ...]


def report(
    fleet: str, devices: Mapping[str, Latest], now: float, rules: Rules, registered: Collection[str] = ()
) -> Report:
    """Return the report of a fleet's devices; `registered` names those that there should be, those seen where empty."""
    connected = {name for name, latest in devices.items() if now - latest.moment <= window_s(latest, rules)}
    versions = Counter(latest.heartbeat.AgentVersion for latest in devices.values())
    models: dict[tuple[str, str], Counter[str]] = {}
    for name, latest in devices.items():
        for model in latest.heartbeat.Models:
            counts = models.setdefault((model.ModelName, model.ModelVersion), Counter())
            counts.update(_states(model, latest, rules) if name in connected else ("Offline",))
    names = set(registered) or set(devices)
    document = {
        "DeviceFleetName": fleet,
        "ReportGenerated": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
        "DeviceStats": {"ConnectedDeviceCount": len(connected), "RegisteredDeviceCount": len(names)},
        "AgentVersions": [{"Version": version, "AgentCount": count} for version, count in sorted(versions.items())],
        "ModelStats": [
            {"ModelName": name, "ModelVersion": version}
            | {f"{state}DeviceCount": counts[state] for state in ("Offline", "Connected", "Active", "Sampling")}
            for (name, version), counts in sorted(models.items())
        ],
    }
    return Report(document, tuple(_remarks(devices, now, rules, connected, registered)))


def window_s(latest: Latest, rules: Rules) -> float:
    """Return for how long a device's latest heartbeat counts, in seconds."""
    return (latest.heartbeat.PeriodSeconds or rules.period_s) * rules.periods


def _states(model: ModelState, latest: Latest, rules: Rules) -> Iterator[str]:
    told = latest.heartbeat.moment or latest.moment
    since = told - window_s(latest, rules)
    yield "Connected"
    if model.LatestInference is not None and model.LatestInference >= since:
        yield "Active"
    if model.LatestSampleTime is not None and model.LatestSampleTime >= since:
        yield "Sampling"


def _remarks(
    devices: Mapping[str, Latest], now: float, rules: Rules, connected: Collection[str], registered: Collection[str]
) -> Iterator[str]:
    for name, latest in devices.items():
        boxes = sum(now - moment <= window_s(latest, rules) for moment in latest.boxes.values())
        if name in connected and boxes > 1:
            yield f"{name}: {boxes} boxes send heartbeats under this name; give each a thing of its own"
        result = latest.heartbeat.DeploymentResult
        if result is not None and result.DeploymentStatus == "FAIL":
            yield f"{name}: deployment {result.DeploymentName} failed: {result.DeploymentStatusMessage}"
    if registered:
        silent = sorted(set(registered) - set(devices))
        if silent:
            yield f"registered and never heard: {', '.join(silent[:20])}{' ...' if len(silent) > 20 else ''}"  # noqa: PLR2004
        strange = sorted(set(devices) - set(registered))
        if strange:
            yield f"heard and not registered: {', '.join(strange[:20])}{' ...' if len(strange) > 20 else ''}"  # noqa: PLR2004
