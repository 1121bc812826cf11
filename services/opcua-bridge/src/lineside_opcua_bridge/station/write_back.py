"""Writes a verdict to the PLC: two calls, each status checked, and only nodes that the settings list.

First verdict, code, confidence, findings, request id and part id are written; then done, only where the PLC took what
it acts on. Done that is raised with no verdict, or with another part's, would be worse than none: without done the PLC
times the part out by itself.
"""

import time
from collections.abc import Mapping

import structlog
from asyncua import ua

from lineside_opcua_bridge.binding.node_validation import INTEGERS
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.settings.write_back import WriteBackSettings
from lineside_opcua_bridge.station.handshake_state import WriteEnd
from lineside_opcua_bridge.station.parts import Answer, Part

log = structlog.get_logger("lineside.opcua_bridge.write_back")

_FATAL = frozenset({"verdict", "code", "request_id", "part_id"})
"""What the PLC acts on: done is not raised where it refused one of these."""


def content_of(
    settings: WriteBackSettings, part: Part, answer: Answer, kinds: Mapping[str, ua.VariantType]
) -> dict[str, ua.Variant]:
    """Return what is written before done, by role, as the settings map it; `kinds` are the types of the nodes."""
    codes = settings.codes
    values: dict[str, object] = {
        "verdict": settings.values.get(answer.verdict, answer.verdict),
        "code": codes.get(answer.code, codes["default"]) if codes else answer.code,
        "confidence": answer.confidence,
        "findings": answer.findings,
        "request_id": part.request_id if part.asked else "",
        "part_id": part.part_id or "",
    }
    if (kind := kinds.get("findings")) is not None:
        values["findings"] = min(answer.findings, INTEGERS[kind][1])
    if (kind := kinds.get("part_id")) in INTEGERS:
        values["part_id"] = _number(part.part_id, kind)
    return {role: ua.Variant(value, kinds[role]) for role, value in values.items() if role in kinds}


async def write_back(
    trigger: str, settings: WriteBackSettings, binding: Binding, part: Part, answer: Answer, metrics: Metrics
) -> WriteEnd:
    """Write the answer and raise done; return how that ended. What failed is counted and logged."""
    started = time.monotonic()
    for node in binding.refused:
        metrics.write_failures.labels(trigger, node, "left_out").inc()
    content = content_of(settings, part, answer, binding.kinds)
    raising, failure = part.raising, part.failure
    try:
        refused = await _write(trigger, binding, content, metrics)
        failure = _in_words(refused) or failure
        if _FATAL & refused.keys():
            return WriteEnd(done_raised=False, raising=raising, failure=failure)
        raising = True
        refused = await _write(trigger, binding, {"done": _done(raised=True)}, metrics)
        if refused:
            return WriteEnd(done_raised=False, raising=False, failure=_in_words(refused))
    except CallFailed as failed:
        _failed(trigger, failed, metrics)
        return WriteEnd(done_raised=False, raising=raising, failure=failed.what)
    metrics.write_back.labels(trigger).observe(time.monotonic() - started)
    return WriteEnd(done_raised=True, raising=False, failure=failure)


async def lower_done(trigger: str, binding: Binding, metrics: Metrics) -> bool:
    """Lower done; return whether it is lowered. What failed is counted and logged."""
    try:
        return not await _write(trigger, binding, {"done": _done(raised=False)}, metrics)
    except CallFailed as failed:
        _failed(trigger, failed, metrics)
        return False


def _number(part_id: str | None, kind: ua.VariantType) -> int:
    """Return a part's id as a whole number of this type; 0, which is no part's, where it is none."""
    least, greatest = INTEGERS[kind]
    number = int(part_id) if part_id and part_id.lstrip("-").isdecimal() else 0
    return number if least <= number <= greatest else 0


def _done(*, raised: bool) -> ua.Variant:
    return ua.Variant(Value=raised, VariantType=ua.VariantType.Boolean)


def _failed(trigger: str, failed: CallFailed, metrics: Metrics) -> None:
    metrics.write_failures.labels(trigger, "all", failed.reason).inc()
    log.warning("the write-back failed", error=failed.what)


def _in_words(refused: Mapping[str, str]) -> str | None:
    return f"the PLC refused {', '.join(f'{node} ({status})' for node, status in refused.items())}" if refused else None


async def _write(trigger: str, binding: Binding, content: Mapping[str, ua.Variant], metrics: Metrics) -> dict[str, str]:
    """Write in one call what is not left out; return what the PLC refused, with its status."""
    named = [node for node in content if node in binding.write_back]
    statuses = await binding.session.write(
        [(binding.write_back[node], content[node]) for node in named],
        elements={at: binding.elements[node] for at, node in enumerate(named) if node in binding.elements},
    )
    refused = {node: status.name for node, status in zip(named, statuses, strict=True) if not status.is_good()}
    for node, status in refused.items():
        metrics.write_failures.labels(trigger, node, status).inc()
        log.warning("the PLC refused a write", node=node, status=status)
    return refused
