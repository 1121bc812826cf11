"""Checks the PLC's server: its clock, its namespaces, its limits, and every node that the settings name."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from asyncua import ua
from asyncua.ua.attribute_ids import AttributeIds

from lineside.checks import Check, bounded, fail, ok, skip, warn
from lineside_opcua_bridge.binding.bind import bind, read_facts
from lineside_opcua_bridge.binding.node_conflicts import Bound, check_conflicts
from lineside_opcua_bridge.binding.node_validation import heartbeat_need, problem
from lineside_opcua_bridge.finding.find import find
from lineside_opcua_bridge.link.session import Limits, Session
from lineside_opcua_bridge.nodes import OPC_UA
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, TriggerSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger
from lineside_opcua_bridge.settings.write_back import HeartbeatSettings
from lineside_opcua_bridge.values import instant

CLOCK = "PLC clock"
_CURRENT_TIME = ua.NodeId(ua.Int32(2258))
_BOUND_S = 10.0
_NOTICED = timedelta(seconds=2)
"""Servers move their clock's node once a second."""
_WRONG = timedelta(minutes=5)
_ALL_GONE = "the session ended before"


def name_of(trigger: TriggerSettings) -> str:
    """Return the name of a trigger's check."""
    return f"trigger {trigger.name}"


async def checks(own: OpcuaBridgeSettings, session: Session, *, now: Callable[[], datetime]) -> AsyncIterator[Check]:
    """Yield the checks on an open session."""
    yield await bounded(CLOCK, partial(_clock, session, now), within_s=_BOUND_S)
    uris = [uri for uri in session.namespaces if uri != OPC_UA]
    yield ok("PLC namespaces", ", ".join(uris)) if uris else warn("PLC namespaces", "it has none of its own")
    yield _limits(session.limits)
    bound: dict[str, Bound] = {}
    for trigger in own.triggers:
        name = name_of(trigger)
        if not trigger.needs_plc():
            yield skip(name, "it needs nothing of the PLC")
        elif session.lost.done():
            yield skip(name, _ALL_GONE)
        else:
            yield await bounded(name, partial(_trigger, trigger, session, own, bound), within_s=_BOUND_S)
    if own.heartbeat:
        if session.lost.done():
            yield skip("heartbeat", _ALL_GONE)
        else:
            yield await bounded("heartbeat", partial(_heartbeat, own.heartbeat, session, bound), within_s=_BOUND_S)


def skew(server: datetime | None, before: datetime, after: datetime) -> Check:
    """Check the server's clock, which was read between two instants of ours."""
    remedy = "set both clocks by the same time server (NTP)"
    if server is None:
        return warn(CLOCK, "the server does not tell the time (i=2258)", remedy)
    off = server - (before + (after - before) / 2)
    seconds = off.total_seconds()
    said = f"{abs(seconds):.1f} s {'ahead of' if seconds > 0 else 'behind'} ours"
    if abs(off) <= _NOTICED + (after - before) / 2:
        return ok(CLOCK, said)
    if abs(off) <= _WRONG:
        return warn(CLOCK, f"{said}: source timestamps mislead", remedy)
    return fail(CLOCK, f"{said}: certificates and timestamps can be refused", remedy)


async def _clock(session: Session, now: Callable[[], datetime]) -> Check:
    before = now()
    (value,) = await session.read([(_CURRENT_TIME, AttributeIds.Value)])
    after = now()
    content = value.Value.Value if value.Value is not None else None
    return skew(instant(content) if isinstance(content, datetime) else None, before, after)


def _limits(limits: Limits) -> Check:
    each = {"nodes a read": limits.read, "nodes a write": limits.write, "tags a subscribing call": limits.monitored}
    said = [f"{most} {what}" for what, most in each.items() if most]
    return ok("PLC limits", ", ".join(said) or "none told")


async def _trigger(
    trigger: TriggerSettings, session: Session, own: OpcuaBridgeSettings, bound: dict[str, Bound]
) -> Check:
    """Find and check every node of a trigger, as the bridge does, and add it to `bound`."""
    name = name_of(trigger)
    binding = await bind(trigger, session, own)
    check_conflicts({**bound, trigger.name: (trigger, binding)}, heartbeat=None)
    bound[trigger.name] = (trigger, binding)
    said = f"{_nodes(binding.nodes)} to read, {_nodes(binding.write_back)} to write"
    if binding.refused:
        left_out = "; ".join(f"{role} is left out: {why}" for role, why in binding.refused.items())
        return warn(name, f"{said}; {left_out}", "let the bridge write there, or take it out of the settings")
    node = binding.nodes.get("trigger")
    if node is not None and not isinstance(trigger.when, EventTrigger):
        (first,), (second,) = [await session.read([(node, AttributeIds.Value)]) for _ in range(2)]
        said += stamping(first, second)
    return ok(name, f"{said}; simulated" if binding.simulated else said)


def stamping(first: ua.DataValue, second: ua.DataValue) -> str:
    """Return what is wrong with a trigger's source timestamps by two reads in a row; empty where nothing is.

    Whether stamps advance with the values is only seen by a running bridge.
    """
    stamps = instant(first.SourceTimestamp), instant(second.SourceTimestamp)
    if None in stamps:
        return "; the trigger has no source timestamp: parts are told apart by the order in which they come"
    if stamps[0] != stamps[1] and first.Value == second.Value:
        return "; the server stamps a value when it is read: parts are told apart by the order in which they come"
    return ""


def _nodes(nodes: Mapping[str, ua.NodeId]) -> str:
    return f"{len(nodes)} node{'s' * (len(nodes) != 1)}"


async def _heartbeat(heartbeat: HeartbeatSettings, session: Session, bound: Mapping[str, Bound]) -> Check:
    found = await find(session, {"heartbeat": heartbeat.node})
    facts = await read_facts(session, {"heartbeat.node": (heartbeat.node, found["heartbeat"])})
    check_conflicts(bound, heartbeat=found["heartbeat"])
    if wrong := problem(heartbeat_need(), heartbeat.node, facts["heartbeat.node"]):
        return fail("heartbeat", wrong, "correct opcua_bridge.heartbeat.node, or the node in the PLC")
    return ok("heartbeat", f"{heartbeat.node} is {facts['heartbeat.node'].shown} and may be written")
