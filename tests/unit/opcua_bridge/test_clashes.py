"""Nodes that serve two purposes, known by what they are on the server and not by how they are spelled."""

from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua

from lineside_opcua_bridge.link.clashes import Bound, refuse_clash
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.binding import Binding, NodeUnfit

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


def test_nodes_of_their_own_are_fine() -> None:
    refuse_clash({"a": bound("a", 0, verdict=1, done=2), "b": bound("b", 3, verdict=4)}, heartbeat=NODES[5])
    refuse_clash({}, heartbeat=None)


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
        refuse_clash({"a": bound("a", 0, verdict=1, done=2), "b": other}, heartbeat=node)
    assert says in caught.value.what
