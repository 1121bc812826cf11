"""One heartbeat of all that is known: values in, a value out."""

import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lineside import __version__
from lineside.heartbeats import DeploymentModel, DeploymentReport, Heartbeat, Metric, ModelState
from lineside_deployer.heartbeat.inference import Seen, Statistics
from lineside_deployer.records import Record

AGENT = "agent"
_MS, _NS_PER_MS = 1e3, 1e6


@dataclass(frozen=True)
class Agent:
    """This service: since when it runs, how often it ended otherwise than by a stop, its CPU time and memory."""

    started: float
    crashes: int
    starts: int
    cpu_s: float
    memory_bytes: float


def look(started: float, crashes: int, starts: int) -> Agent:
    """Return this process as it is now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        pages = 0
    return Agent(started, crashes, starts, time.process_time(), float(pages * resource.getpagesize()))


def heartbeat(
    device: str,
    fleet: str,
    box: str,
    period_s: float,
    now: float,
    agent: Agent,
    seen: Seen | None,
    sampled: Mapping[str, float],
    record: Record | None,
) -> Heartbeat:
    """Return the heartbeat; without `seen` it says nothing of models, for nothing is known of them."""
    figures = {
        "StartTime": agent.started,
        "StartCount": agent.starts,
        "CrashCount": agent.crashes,
        "CpuSeconds": agent.cpu_s,
        "MemoryBytes": agent.memory_bytes,
        "InferenceServiceUp": float(seen is not None),
    }
    return Heartbeat(
        AgentVersion=__version__,
        DeviceName=device,
        DeviceFleetName=fleet,
        HeartbeatTime=now,
        PeriodSeconds=period_s,
        BoxId=box,
        AgentMetrics=tuple(
            Metric(Dimension=AGENT, MetricName=name, Value=value, Timestamp=now) for name, value in figures.items()
        ),
        Models=tuple(_models(seen, sampled, now)) if seen is not None else (),
        DeploymentResult=_result(record) if record is not None else None,
    )


def _models(seen: Seen, sampled: Mapping[str, float], now: float) -> Iterator[ModelState]:
    for name, version in sorted(seen.versions.items()):
        known = seen.statistics.get((name, version))
        yield ModelState(
            ModelName=name,
            ModelVersion=version,
            LatestSampleTime=sampled.get(name),
            LatestInference=known.last_inference / _MS if known is not None and known.last_inference else None,
            ModelMetrics=tuple(_figures(known, f"{name}/{version}", now)) if known is not None else (),
        )


def _figures(known: Statistics, dimension: str, now: float) -> Iterator[Metric]:
    done, failed = known.inference_stats.success, known.inference_stats.fail
    figures = {
        "InferenceCount": float(known.inference_count),
        "RequestCount": float(done.count),
        "ErrorCount": float(failed.count),
    }
    if done.count:
        figures["MeanLatencyMs"] = done.ns / done.count / _NS_PER_MS
    for name, value in figures.items():
        yield Metric(Dimension=dimension, MetricName=name, Value=value, Timestamp=now)


def _result(record: Record) -> DeploymentReport:
    return DeploymentReport(
        DeploymentName=record.deployment.DeploymentName,
        DeploymentStatus=record.status,
        DeploymentStatusMessage=record.message,
        DeploymentStartTime=max(record.started, 0.0),
        DeploymentEndTime=record.ended,
        DeploymentModels=tuple(
            DeploymentModel(
                ModelHandle=each.handle,
                ModelName=each.handle,
                ModelVersion=each.version,
                DesiredState=each.desired,
                State="DEPLOY" if each.version is not None else "UNDEPLOY",
                Status=each.status,
                StatusReason=each.reason,
                RollbackFailureReason=each.rollback_failure,
            )
            for each in record.models
            if each.status
        ),
    )
