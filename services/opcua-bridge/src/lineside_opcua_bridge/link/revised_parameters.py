"""Logs, once for each group of items, where the server granted less than was asked for."""

from collections.abc import Sequence

import structlog

from lineside_opcua_bridge.link.dispatcher import MonitoredItem
from lineside_opcua_bridge.link.rates import is_short, is_slow

log = structlog.get_logger("lineside.opcua_bridge.revised_parameters")


def log_revised(items: Sequence[MonitoredItem], publishing_ms: float) -> None:
    """Log which revised parameters may lose or delay values, for items that are published every `publishing_ms`."""
    granted = [(item, item.granted) for item in items if item.granted]
    for item, got in granted:
        if item.request.role == "trigger" and item.request.event is None and got.sampling_ms > 0:
            log.info(
                "the server samples the trigger: a shorter pulse is not seen",
                trigger=item.subscriber.name,
                sampling_ms=got.sampling_ms,
            )
    late: dict[str, float] = {}
    for item in items:
        within = item.subscriber.settings.deadline_ms - item.subscriber.settings.margin_ms
        if item.request.role in {"trigger", "request"} and publishing_ms >= within:
            late[item.subscriber.name] = within
    for trigger, within in late.items():
        log.warning(
            "the server tells of changes later than the deadline leaves time for: a part may be unknown unseen",
            trigger=trigger,
            publishing_ms=publishing_ms,
            answer_within_ms=within,
            remedy="let the PLC's server publish more often, or raise deadline_ms",
        )
    short = [(item, got) for item, got in granted if is_short(got, publishing_ms)]
    columns = [(item, got) for item, got in granted if item.request.role.startswith("window.")]
    slow = [(item, got) for item, got in columns if is_slow(item.request.sampling_ms, got)]
    for found, what, remedy in (
        (short, "the server keeps too few values of some tags", "let the PLC keep more for each monitored item"),
        (slow, "the server samples columns of a window too slowly", "lower rate_hz, or let the PLC sample faster"),
    ):
        if found:
            first, got = found[0]
            log.warning(
                what,
                trigger=first.subscriber.name,
                tags=len(found),
                first=first.request.role,
                asked_ms=first.request.sampling_ms,
                sampling_ms=got.sampling_ms,
                queue=got.queue,
                publishing_ms=publishing_ms,
                remedy=remedy,
            )
