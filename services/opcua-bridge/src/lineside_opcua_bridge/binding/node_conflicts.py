"""Checks that no node is used for two purposes: written by two triggers, or both written and a trigger.

The settings only compare texts; that a browse path and a node id name the same node is only known on the server.
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
"""A node and the index of its element; a whole node counts as index 0, for an array of one may be named either way."""

_TRIGGERING = ("trigger", "request")
_REMEDY = "give each purpose a node of its own: two spellings in the settings name the same one"


def check_conflicts(bound: Mapping[str, Bound], *, heartbeat: ua.NodeId | None) -> None:
    """Check triggers, by name, against one another and the heartbeat's node where there is one; raises NodeUnfit."""
    everyone = bound.values()
    written = [
        (_element(node, binding, role), f"{role} of trigger {trigger.name!r}")
        for trigger, binding in everyone
        for role, node in binding.write_back.items()
    ]
    if heartbeat is not None:
        written.append(((heartbeat, 0), "heartbeat"))
    triggering = [
        (_element(node, binding, role), f"{role} of trigger {trigger.name!r}")
        for trigger, binding in everyone
        for role in _TRIGGERING
        if (node := binding.nodes.get(role)) is not None
    ]
    edges = [
        (_element(binding.nodes["trigger"], binding, "trigger"), f"trigger of {trigger.name!r}")
        for trigger, binding in everyone
        if isinstance(trigger.when, EdgeTrigger) and "trigger" in binding.nodes
    ]
    for claims, why in ((written, "would be written for two purposes"), (edges, "would ask for two verdicts a part")):
        holders = dict(reversed(claims))
        for element, purpose in claims:
            if holders[element] != purpose:
                raise NodeUnfit(f"node {_named(element, bound)} {why}: {holders[element]}, {purpose}", remedy=_REMEDY)
    holders = dict(written)
    for element, purpose in triggering:
        if element in holders:
            raise NodeUnfit(
                f"node {_named(element, bound)} is {purpose} and would be written as {holders[element]}: a write-back "
                "would ask again",
                remedy=_REMEDY,
            )


def _element(node: ua.NodeId, binding: Binding, role: str) -> Element:
    return node, binding.elements.get(role, 0)


def _named(element: Element, bound: Mapping[str, Bound]) -> str:
    """Return a node as the settings would name it, with the index of its element where that is not 0."""
    node, index = element
    named = describe(node, next((binding.session.namespaces for _trigger, binding in bound.values()), []))
    return f"index={index};{named}" if index else named
