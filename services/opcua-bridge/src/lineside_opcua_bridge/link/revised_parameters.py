"""What a server grants less of than was asked for, told once to the person who can change it."""

from collections.abc import Sequence

import structlog

from lineside_opcua_bridge.link.dispatcher import Target
from lineside_opcua_bridge.link.rates import is_short, is_slow

log = structlog.get_logger("lineside.opcua_bridge.shortcomings")


def tell(targets: Sequence[Target], publishing_ms: float) -> None:
    """Log what falls short of the wishes for tags that are published every `publishing_ms`."""
    granted = [(target, target.granted) for target in targets if target.granted]
    for target, got in granted:
        if target.watched.role == "trigger" and target.watched.event is None and got.sampling_ms > 0:
            log.info(
                "the server samples the trigger: a shorter pulse is not seen",
                trigger=target.station.name,
                sampling_ms=got.sampling_ms,
            )
    late: dict[str, float] = {}
    for target in targets:
        within = target.station.settings.deadline_ms - target.station.settings.margin_ms
        if target.watched.role in {"trigger", "request"} and publishing_ms >= within:
            late[target.station.name] = within
    for trigger, within in late.items():
        log.warning(
            "the server tells of changes later than the deadline leaves time for: a part may be unknown unseen",
            trigger=trigger,
            publishing_ms=publishing_ms,
            answer_within_ms=within,
            remedy="let the PLC's server publish more often, or raise deadline_ms",
        )
    short = [(target, got) for target, got in granted if is_short(got, publishing_ms)]
    columns = [(target, got) for target, got in granted if target.watched.role.startswith("window.")]
    slow = [(target, got) for target, got in columns if is_slow(target.watched.sampling_ms, got)]
    for found, what, remedy in (
        (short, "the server keeps too few values of some tags", "let the PLC keep more for each monitored item"),
        (slow, "the server samples columns of a window too slowly", "lower rate_hz, or let the PLC sample faster"),
    ):
        if found:
            first, got = found[0]
            log.warning(
                what,
                trigger=first.station.name,
                tags=len(found),
                first=first.watched.role,
                asked_ms=first.watched.sampling_ms,
                sampling_ms=got.sampling_ms,
                queue=got.queue,
                publishing_ms=publishing_ms,
                remedy=remedy,
            )
