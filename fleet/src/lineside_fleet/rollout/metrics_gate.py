"""The gate over a store of metrics: the stage's own devices, at the same hours before the stage and since."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.observations import Observations, Window
from lineside_fleet.gate.settings import GateSettings
from lineside_fleet.gate.sources.cloudwatch import CloudWatch
from lineside_fleet.gate.sources.errors import NothingThere
from lineside_fleet.gate.sources.prometheus import Prometheus
from lineside_fleet.rollout.evidence_gate import told
from lineside_fleet.rollout.judging import Judged
from lineside_fleet.state.document import StageState

DAY_S = 86_400.0

Observe = Callable[[Window, tuple[str, ...], str], Observations]
"""What is known of these devices in a window, under a name of the version that ran."""


def windows(deployed_at: float, done_at: float, now: float) -> tuple[Window, Window]:
    """Return the windows before and since (seconds since 1970): whole days apart, so both cover the same hours."""
    apart = DAY_S * max(1, math.ceil((now - deployed_at) / DAY_S))
    return _window(done_at - apart, now - apart), _window(done_at, now)


def _window(start: float, end: float) -> Window:
    return Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))


def from_prometheus(url: str, model: str) -> Observe:
    """Return what asks a Prometheus that scrapes the boxes' exporters; its label `thing` names a device."""
    source = Prometheus(url)
    return lambda window, things, version: source.observe(window, model=model, devices=things, version=version)


def from_cloudwatch(namespace: str, model: str, settings: GateSettings) -> Observe:
    """Return what asks CloudWatch for what the boxes' exporters send."""
    source = CloudWatch(namespace)
    latency = settings.latency.quantiles if settings.latency else ()
    confidence = settings.confidence.quantiles if settings.confidence else ()
    return lambda window, things, version: source.observe(
        window, model=model, latency=latency, confidence=confidence, devices=things, version=version
    )


@dataclass(frozen=True)
class MetricsGate:
    """`now` is seconds since 1970."""

    settings: GateSettings
    observe: Observe
    now: Callable[[], float]
    out: Path | None = None
    """Folder for the evaluation as JSON, picture and page."""

    def judge(self, stage: StageState, look: int) -> Judged:
        """Return the verdict of this look, hold where the store has nothing of a side; raises LinesideError."""
        deployed, done = (datetime.fromisoformat(each).timestamp() for each in (stage.deployed_at, stage.done_at))
        before, since = windows(deployed, done, self.now())
        things = tuple(stage.things)
        sides: list[Observations] = []
        for window, version in ((before, f"before {stage.deployment_id}"), (since, stage.deployment_id)):
            try:
                sides.append(self.observe(window, things, version))
            except NothingThere as error:
                when = f"{window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
                return Judged("hold", [f"stage {stage.name}: nothing to compare of {when}: {error}"], is_look=False)
        baseline, staged = sides
        return told(stage, evaluate(self.settings, baseline, staged, look), self.out)
