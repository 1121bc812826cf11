"""Nodes that serve two purposes, known by what they are on the server and not by how they are spelled."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua

from lineside_opcua_bridge.binding.bind import NodeUnfit
from lineside_opcua_bridge.binding.node_conflicts import Bound, check_conflicts
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.settings import TriggerSettings

NODES = [ua.NodeId(ua.String(f"n{number}"), ua.Int16(1)) for number in range(10)]


def bound(name: str, trigger: int, **written: int) -> Bound:
    given = {
        "name": name,
        "when": {"kind": "edge", "node": f"nsu=u;s={name}"},
        "station": name,
        "model": "m",
        "source": {"kind": "camera", "camera": "c"},
    }
    session: Any = SimpleNamespace(namespaces=["http://opcfoundation.org/UA/", "u"])
    nodes = {role: NODES[number] for role, number in written.items()}
    return TriggerSettings.model_validate(given), Binding(session, (), {"trigger": NODES[trigger]}, nodes)


def of_elements(known: Bound, **elements: int) -> Bound:
    trigger, binding = known
    return trigger, replace(binding, elements=elements)


def test_elements_of_one_array_are_nodes_of_their_own() -> None:
    first = of_elements(bound("a", 0, verdict=1, done=2), trigger=0, verdict=0, done=0)
    second = of_elements(bound("b", 0, verdict=1, done=2), trigger=1, verdict=1, done=1)
    check_conflicts({"a": first, "b": second}, heartbeat=NODES[5])
    with pytest.raises(NodeUnfit, match=r"index=1;nsu=u;s=n2 would be written for two purposes: done of trigger 'b'"):
        check_conflicts({"b": second, "c": of_elements(bound("c", 3, verdict=2), verdict=1)}, heartbeat=None)
    with pytest.raises(NodeUnfit, match="would be written as done of trigger 'a'"):
        check_conflicts({"a": first, "b": bound("b", 2)}, heartbeat=None)


def test_nodes_of_their_own_are_fine() -> None:
    check_conflicts({"a": bound("a", 0, verdict=1, done=2), "b": bound("b", 3, verdict=4)}, heartbeat=NODES[5])
    check_conflicts({}, heartbeat=None)


@pytest.mark.parametrize(
    ("other", "heartbeat", "says"),
    [
        (
            bound("b", 3, verdict=1),
            None,
            "nsu=u;s=n1 would be written for two purposes: verdict of trigger 'a', verdict of trigger 'b'",
        ),
        (bound("b", 0), None, "would ask for two verdicts a part: trigger of 'a', trigger of 'b'"),
        (bound("b", 2), None, "trigger of trigger 'b' and would be written as done of trigger 'a'"),
        (bound("b", 3), 2, "for two purposes: done of trigger 'a', heartbeat"),
        (bound("b", 3), 3, "trigger of trigger 'b' and would be written as heartbeat"),
    ],
)
def test_a_node_for_two_purposes_is_refused(other: Bound, heartbeat: int | None, says: str) -> None:
    node = None if heartbeat is None else NODES[heartbeat]
    with pytest.raises(NodeUnfit) as caught:
        check_conflicts({"a": bound("a", 0, verdict=1, done=2), "b": other}, heartbeat=node)
    assert says in caught.value.what
