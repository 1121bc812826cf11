"""Drift for people, as JSON, and as a textfile of Prometheus' node exporter. Pure."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lineside.tables import table
from lineside_fleet.drift.comparing import KINDS
from lineside_fleet.drift.reading import Drift

_NAMES = ("thing", "kind", "component", "desired", "actual")


def as_text(drift: Drift) -> str:
    """Return a line for each difference."""
    rows = [
        [each.thing, each.kind, each.component, each.desired or "-", each.actual or "-", each.why]
        for each in drift.differences
    ]
    text = table(("thing", "drift", "component", "desired", "actual", "why"), rows) if rows else ""
    kinds = Counter(each.kind for each in drift.differences)
    said = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) or "none differs"
    strangers = f"; heartbeats of {len(drift.strangers)} that are no core devices" if drift.strangers else ""
    pending = f", on {len(drift.pending)} a deployment is under way" if drift.pending else ""
    return f"{text}{len(drift.wanted)} devices: {said}{pending}{strangers}\n"


def as_json(drift: Drift) -> str:
    """Return all that was found, with what each device should run."""
    made = {
        "schema": "lineside/drift/1",
        "at": drift.at,
        "devices": len(drift.wanted),
        "drifting": drift.drifting,
        "pending": drift.pending,
        "differences": [asdict(each) for each in drift.differences],
        "desired": {
            thing: {name: pinned.version for name, pinned in each.components.items()}
            for thing, each in sorted(drift.wanted.items())
        },
        "desired_models": {thing: dict(each.models) for thing, each in sorted(drift.wanted.items()) if each.models},
        "strangers": drift.strangers,
    }
    return json.dumps(made, indent=2) + "\n"


def as_metrics(drift: Drift) -> str:
    """Return the metrics; a kind that nothing is of is 0, so that an alarm on it can end."""
    registry = CollectorRegistry()
    registry.register(_Once(list(_families(drift))))
    return generate_latest(registry).decode()


@dataclass(eq=False)
class _Once(Collector):
    families: list[Metric]

    def collect(self) -> list[Metric]:
        return self.families


def _families(drift: Drift) -> Iterator[Metric]:
    kinds = Counter(each.kind for each in drift.differences)
    yield GaugeMetricFamily("lineside_fleet_devices", "Core devices that were looked at.", len(drift.wanted))
    yield GaugeMetricFamily(
        "lineside_fleet_pending_devices", "Core devices on which a deployment is under way.", len(drift.pending)
    )
    counted = GaugeMetricFamily(
        "lineside_fleet_drift_count", "Differences from the deployments, by kind.", labels=["kind"]
    )
    for kind in KINDS:
        counted.add_metric([kind], kinds[kind])
    yield counted
    info = GaugeMetricFamily(
        "lineside_fleet_drift_info", "1 for each difference: the device, the component, and both.", labels=_NAMES
    )
    for each in drift.differences:
        info.add_metric([str(getattr(each, name)) for name in _NAMES], 1)
    yield info
    yield GaugeMetricFamily(
        "lineside_fleet_drift_time_seconds", "When it was looked at, in seconds since 1970.", drift.at
    )
