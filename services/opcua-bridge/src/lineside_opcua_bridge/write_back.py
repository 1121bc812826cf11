"""The verdict into the PLC: two calls, each status checked, and only nodes that the settings list.

First verdict, confidence and request id; then done, only where the verdict was taken. Done raised over an empty
verdict would be worse than none: the PLC times the part out by itself.
"""

import time

import structlog
from asyncua import ua

from lineside_opcua_bridge.binding import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.parts import Answer, Part
from lineside_opcua_bridge.session import CallFailed

log = structlog.get_logger("lineside.opcua_bridge.write_back")


async def write_back(trigger: str, binding: Binding, part: Part, answer: Answer, metrics: Metrics) -> bool:
    """Write the answer and raise done; return whether done is raised. What failed is counted and logged."""
    started = time.monotonic()
    for node in binding.refused:
        metrics.write_failures.labels(trigger, node, "left_out").inc()
    content = {
        "verdict": ua.Variant(answer.verdict, ua.VariantType.String),
        "confidence": ua.Variant(answer.confidence, binding.confidence),
        "request_id": ua.Variant(part.request_id, ua.VariantType.String),
    }
    raised = {"done": ua.Variant(Value=True, VariantType=ua.VariantType.Boolean)}
    try:
        if "verdict" in await _write(trigger, binding, content, metrics):
            return False
        if await _write(trigger, binding, raised, metrics):
            return False
    except CallFailed as failed:
        metrics.write_failures.labels(trigger, "all", failed.reason).inc()
        log.warning("the write-back failed", error=failed.what)
        return False
    metrics.write_back.labels(trigger).observe(time.monotonic() - started)
    return True


async def _write(trigger: str, binding: Binding, content: dict[str, ua.Variant], metrics: Metrics) -> set[str]:
    """Write in one call what is not left out; return what the PLC refused."""
    named = [node for node in content if node in binding.write_back]
    statuses = await binding.session.write([(binding.write_back[node], content[node]) for node in named])
    refused = {node: status.name for node, status in zip(named, statuses, strict=True) if not status.is_good()}
    for node, status in refused.items():
        metrics.write_failures.labels(trigger, node, status).inc()
        log.warning("the PLC refused a write", node=node, status=status)
    return set(refused)
