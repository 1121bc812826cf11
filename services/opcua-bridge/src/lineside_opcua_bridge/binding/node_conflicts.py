"""Nodes that two triggers would write, or that are written and trigger, however differently they are spelled.

The settings compare texts; a browse path and a node id that name one node are only seen on the server.
"""

from collections.abc import Mapping

from asyncua import ua

from lineside_opcua_bridge.binding.bind import NodeUnfit
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.nodes import describe
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.triggers import EdgeTrigger

Bound = tuple[TriggerSettings, Binding]
"""A trigger's settings, and its nodes on the server."""

Element = tuple[ua.NodeId, int]
"""A node and which element of it; a node as a whole is its first, for an array of one may be named either way."""

_ASKING = ("trigger", "request")
_REMEDY = "give each purpose a node of its own: two spellings in the settings name the same one"


def check_conflicts(bound: Mapping[str, Bound], *, heartbeat: ua.NodeId | None) -> None:
    """Check triggers, by name, against one another and the heartbeat's node where there is one; raises NodeUnfit."""
    everyone = bound.values()
    written = [
        (_place(node, binding, role), f"{role} of trigger {trigger.name!r}")
        for trigger, binding in everyone
        for role, node in binding.write_back.items()
    ]
    if heartbeat is not None:
        written.append(((heartbeat, 0), "heartbeat"))
    asking = [
        (_place(node, binding, role), f"{role} of trigger {trigger.name!r}")
        for trigger, binding in everyone
        for role in _ASKING
        if (node := binding.nodes.get(role)) is not None
    ]
    edges = [
        (_place(binding.nodes["trigger"], binding, "trigger"), f"trigger of {trigger.name!r}")
        for trigger, binding in everyone
        if isinstance(trigger.when, EdgeTrigger) and "trigger" in binding.nodes
    ]
    for claims, why in ((written, "would be written for two purposes"), (edges, "would ask for two verdicts a part")):
        holders = dict(reversed(claims))
        for place, purpose in claims:
            if holders[place] != purpose:
                raise NodeUnfit(f"node {_named(place, bound)} {why}: {holders[place]}, {purpose}", remedy=_REMEDY)
    holders = dict(written)
    for place, purpose in asking:
        if place in holders:
            raise NodeUnfit(
                f"node {_named(place, bound)} is {purpose} and would be written as {holders[place]}: a write-back "
                "would ask again",
                remedy=_REMEDY,
            )


def _place(node: ua.NodeId, binding: Binding, role: str) -> Element:
    return node, binding.elements.get(role, 0)


def _named(place: Element, bound: Mapping[str, Bound]) -> str:
    """Return a node as the settings would name it, its element by the number where that is not the first."""
    node, index = place
    named = describe(node, next((binding.session.namespaces for _trigger, binding in bound.values()), []))
    return f"index={index};{named}" if index else named
