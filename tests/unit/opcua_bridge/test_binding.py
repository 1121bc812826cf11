"""What is checked of a trigger's nodes at the connect, and what is said about them."""

import uuid
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from lineside_opcua_bridge.binding.bind import NodeUnfit, bind
from lineside_opcua_bridge.link.subscriber import base_field
from lineside_opcua_bridge.nodes import NodeMissing
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

READ_ONLY, READ_WRITE, WRITE_ONLY = 1, 3, 2
URI = "urn:test"


class Server:
    """A server's nodes by name, as a session shows them: what the test gives, else a Boolean that may be written."""

    namespaces: tuple[str, ...] = ("http://opcfoundation.org/UA/", URI)

    def __init__(self, **nodes: Any) -> None:
        self.nodes = nodes

    async def read(self, what: Any) -> list[ua.DataValue]:
        return [self._attribute(self.nodes.get(str(node.Identifier), node_of()), attribute) for node, attribute in what]

    async def read_elements(self, what: Any) -> list[ua.DataValue]:
        return [self._element(self.nodes[str(node.Identifier)], index) for node, index in what]

    def _element(self, node: dict[Any, Any], index: int) -> ua.DataValue:
        array = node[ua.AttributeIds.Value]
        if node.get("ranges") is False:
            return ua.DataValue(ua.Variant(array))
        if node.get("ranges") is None or not 0 <= index < len(array):
            return ua.DataValue(StatusCode=ua.StatusCode(StatusCodes.BadIndexRangeNoData))
        return ua.DataValue(ua.Variant([array[index]]))

    def _attribute(self, node: dict[Any, Any] | None, attribute: ua.AttributeIds) -> ua.DataValue:
        if node is None:
            return ua.DataValue(StatusCode=ua.StatusCode(StatusCodes.BadNodeIdUnknown))
        return ua.DataValue(ua.Variant(node[attribute]))


def node_of(
    kind: int = ObjectIds.Boolean,
    *,
    value: Any = None,
    access: int = READ_WRITE,
    user: int = READ_WRITE,
    rank: int = -1,
    namespace: int = 0,
) -> dict[Any, Any]:
    ids = ua.AttributeIds
    return {
        ids.DataType: ua.NodeId(kind, namespace),
        ids.Value: value,
        ids.AccessLevel: access,
        ids.UserAccessLevel: user,
        ids.ValueRank: rank,
        ids.EventNotifier: 0,
        ids.NodeClass: ua.NodeClass.Variable,
    }


TEXT, INT16, REAL = node_of(ObjectIds.String), node_of(ObjectIds.Int16), node_of(ObjectIds.Double)
NODES = {"verdict": TEXT, "code": TEXT, "confidence": REAL, "findings": INT16, "request_id": TEXT}


def tag(name: str) -> str:
    return f"nsu={URI};s={name}"


async def bound(nodes: dict[str, Any] | None = None, write_back: dict[str, Any] | None = None, **trigger: Any) -> Any:
    """Bind a trigger on a server where all fits but for `nodes`."""
    own = OpcuaBridgeSettings.model_validate(
        {
            "security": {"policy": "none"},
            "triggers": [
                {
                    "name": "t",
                    "when": {"kind": "edge", "node": tag("present")},
                    "station": "s",
                    "model": "m",
                    "source": {"kind": "camera", "camera": "c"},
                    "write_back": {role: tag(role) for role in (*NODES, "done")} | (write_back or {}),
                }
                | trigger
            ],
        }
    )
    session: Any = Server(**(NODES | (nodes or {})))
    return await bind(own.triggers[0], session, own)


async def test_what_fits_is_watched_read_and_written() -> None:
    binding = await bound(
        {"speed": REAL, "mode": INT16},
        sample={"speed": tag("speed")},
        only_if=[{"node": tag("mode"), "equals": 2}],
    )
    assert [watched.role for watched in binding.items] == ["trigger", "sample.speed", "only_if.0"]
    assert set(binding.write_back) == {*NODES, "done"}
    assert binding.kinds["findings"] is ua.VariantType.Int16
    assert binding.refused == {}
    assert binding.detail == ""


@pytest.mark.parametrize(("overrun", "watched"), [("newest", False), ("queue", True), ("skip", True)])
async def test_done_is_watched_where_the_next_verdict_waits_for_it(overrun: str, watched: bool) -> None:
    echo = {"part_id": tag("judged_id")}
    binding = await bound({"id": TEXT, "judged_id": TEXT}, echo, sample={"part_id": tag("id")}, overrun=overrun)
    assert ("done" in [watch.role for watch in binding.items]) is watched


async def test_how_often_the_server_looks_follows_from_what_the_tag_is_for() -> None:
    binding = await bound(
        {"a": REAL, "mode": INT16},
        only_if=[{"node": tag("mode"), "above": 1}],
        source={"kind": "window", "input": "x", "tags": {"a": tag("a")}, "rate_hz": 50, "samples": 4},
    )
    assert {watch.role: watch.sampling_ms for watch in binding.items} == {
        "trigger": 0.0,
        "only_if.0": 20.0,
        "window.a": 20.0,
    }


@pytest.mark.parametrize("rank", [0, 1, 2, -2, -3])
async def test_a_value_that_is_a_scalar_is_one_whatever_rank_the_server_states(rank: int) -> None:
    shapes = {
        "present": node_of(rank=rank, value=False),
        "verdict": node_of(ObjectIds.String, rank=rank, value=""),
        "confidence": node_of(ObjectIds.Double, rank=rank, value=0.0),
    }
    binding = await bound(shapes)
    assert binding.refused == {}
    assert {"verdict", "confidence", "done"} <= binding.write_back.keys()


@pytest.mark.parametrize("kind", [ObjectIds.Boolean, ObjectIds.UInt64, ObjectIds.Float, ObjectIds.DateTime, 21, 24, 26])
async def test_a_sample_may_be_all_that_a_request_carries_and_what_is_not_known_yet(kind: int) -> None:
    await bound({"id": node_of(kind)}, sample={"part_id": tag("id")})


async def test_a_derived_type_is_known_by_its_value() -> None:
    derived = node_of(3001, value="x", namespace=1)
    assert (await bound({"verdict": derived})).kinds["verdict"] is ua.VariantType.String


@pytest.mark.parametrize("kind", [ObjectIds.Byte, ObjectIds.Int16, ObjectIds.UInt32, ObjectIds.Int64])
async def test_a_counter_may_be_any_whole_number(kind: int) -> None:
    await bound({"n": node_of(kind)}, when={"kind": "counter", "node": tag("n")})


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ({"present": INT16}, "when.node: node .* is Int16; it must be Boolean"),
        ({"present": node_of(access=WRITE_ONLY)}, "when.node: .* may not be read"),
        ({"present": node_of(rank=1)}, r"is an array of 1 dimension \(ValueRank 1\); it must be a scalar"),
        ({"verdict": node_of()}, "verdict: node .* is Boolean; it must be String, or write_back.values must give"),
        ({"verdict": node_of(ObjectIds.String, rank=2)}, "write_back.verdict: .* an array of 2 dimensions"),
        ({"verdict": node_of(ObjectIds.String, rank=-2, value=["a"])}, "write_back.verdict: .* is an array"),
        ({"verdict": node_of(ObjectIds.String, access=READ_ONLY)}, "write_back.verdict: .* may not be written"),
        ({"code": node_of(ObjectIds.String, user=READ_ONLY)}, "write_back.code: .* may not be written"),
        ({"code": INT16}, "write_back.codes must give the number of each code"),
        ({"done": node_of(access=READ_ONLY)}, "write_back.done: .* may not be written"),
        ({"done": node_of(access=WRITE_ONLY)}, "write_back.done: .* may not be read"),
        ({"id": node_of(access=WRITE_ONLY)}, "sample.part_id: .* may not be read"),
        ({"mode": TEXT}, "only_if.0.node: node .* is String; it must be a number"),
        ({"present": node_of(rank=0)}, r"is an array \(ValueRank 0\)"),
        ({"present": node_of(rank=1, value=[False, True])}, "is an array of 1 dimension"),
        ({"confidence": TEXT}, "write_back.confidence: .* must be Double or Float"),
        ({"confidence": node_of(ObjectIds.Double, rank=1, value=[0.5])}, "write_back.confidence: .* is an array"),
        ({"findings": REAL}, "write_back.findings: .* must be an integer"),
        ({"request_id": node_of(ObjectIds.String, rank=1)}, "write_back.request_id: .* is an array"),
        (
            {"id": node_of(ObjectIds.Guid, value=uuid.UUID(int=1))},
            "sample.part_id: .* is Guid; it must be a Boolean, a ",
        ),
        ({"id": node_of(ObjectIds.ByteString)}, "sample.part_id: .* is ByteString; it must be"),
        ({"id": node_of(3001, namespace=1, value=ua.Argument())}, "sample.part_id: .* is ExtensionObject; it must be"),
    ],
)
async def test_what_a_trigger_cannot_do_without_raises(nodes: dict[str, Any], says: str) -> None:
    usual = {"mode": INT16, "id": TEXT}
    with pytest.raises(NodeUnfit, match=says):
        await bound(usual | nodes, sample={"part_id": tag("id")}, only_if=[{"node": tag("mode"), "above": 1}])


async def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(NodeUnfit, match=r"when\.node: .*; write_back\.verdict: .*; write_back\.done: "):
        await bound({"present": INT16, "verdict": REAL, "done": TEXT})


@pytest.mark.parametrize(
    ("kind", "values", "says"),
    [
        (ObjectIds.Int16, {"pass": 1, "fail": 2, "unknown": 3}, None),
        (
            ObjectIds.Byte,
            {"pass": 1, "fail": -2, "unknown": 300},
            "values.fail is -2, values.unknown is 300; .* 0 to 255",
        ),
        (ObjectIds.Boolean, {"pass": 1, "fail": 2, "unknown": 3}, "is Boolean; it must be an integer"),
        (ObjectIds.Int16, {"pass": "P", "fail": "F", "unknown": "U"}, r"is Int16; it must be String\. "),
    ],
)
async def test_the_plcs_own_words_must_fit_the_node(kind: int, values: dict[str, Any], says: str | None) -> None:
    if says is None:
        assert (await bound({"verdict": node_of(kind)}, {"values": values})).kinds["verdict"] is ua.VariantType.Int16
        return
    with pytest.raises(NodeUnfit, match=says):
        await bound({"verdict": node_of(kind)}, {"values": values})


async def test_codes_must_fit_the_node_too() -> None:
    with pytest.raises(NodeUnfit, match=r"codes\.default is 70000; .* Int16 takes -32768 to 32767"):
        await bound({"code": INT16}, {"codes": {"ok": 0, "default": 70_000}})
    assert (await bound({"code": INT16}, {"codes": {"ok": 0, "default": 99}})).kinds["code"] is ua.VariantType.Int16


@pytest.mark.parametrize(
    ("role", "node", "says"),
    [
        ("confidence", node_of(ObjectIds.Double, access=READ_ONLY), "may not be written"),
        ("findings", node_of(ObjectIds.Int16, access=READ_ONLY), "may not be written"),
        ("request_id", node_of(ObjectIds.String, user=READ_ONLY), "may not be written"),
    ],
)
async def test_what_it_can_do_without_is_left_out_and_shown(role: str, node: Any, says: str) -> None:
    binding = await bound({role: node})
    assert says in binding.refused[role]
    assert role not in binding.write_back
    assert f"{role} is not written" in binding.detail


async def test_a_node_without_events_and_a_type_that_is_none_are_refused() -> None:
    with pytest.raises(NodeUnfit, match=r"when\.node: .* notifies of no events"):
        await bound(when={"kind": "event", "node": tag("machine")})
    notifies = node_of() | {ua.AttributeIds.EventNotifier: 1}
    with pytest.raises(NodeMissing, match=r"when\.event_type: .* no type of event"):
        await bound({"machine": notifies}, when={"kind": "event", "node": tag("machine"), "event_type": tag("kind")})


async def test_an_events_fields_and_what_else_is_asked_of_it() -> None:
    nodes = {
        "machine": node_of() | {ua.AttributeIds.EventNotifier: 1},
        "kind": node_of() | {ua.AttributeIds.NodeClass: ua.NodeClass.ObjectType},
    }
    when = {
        "kind": "event",
        "node": tag("machine"),
        "event_type": tag("kind"),
        "fields": {"part_id": "Message"},
        "min_severity": 200,
    }
    (watched,) = (await bound(nodes, when=when)).items
    assert watched.event.fields == {"part_id": base_field("Message")}
    assert (watched.event.min_severity, watched.event.source_name) == (200, None)


def array(kind: int, content: list[Any], *, ranges: bool | None = True) -> dict[Any, Any]:
    return node_of(kind, value=content, rank=1) | {"ranges": ranges}


async def test_an_element_is_read_of_any_array_that_has_it_whatever_the_server_makes_of_ranges() -> None:
    binding = await bound(
        {"flags": array(ObjectIds.Boolean, [False, True], ranges=False), "ids": array(ObjectIds.String, ["", "P-1"])},
        when={"kind": "edge", "node": f"index=1;{tag('flags')}"},
        sample={"part_id": f"index=1;{tag('ids')}"},
    )
    assert binding.elements == {"trigger": 1, "sample.part_id": 1}
    samples = await binding.read(["trigger", "sample.part_id"])
    assert [sample.value for sample in samples.values()] == [True, "P-1"]


async def test_an_array_of_one_is_taken_for_what_is_only_read() -> None:
    binding = await bound(
        {"present": node_of(rank=1, value=[False]), "id": node_of(ObjectIds.String, rank=1, value=["P"])},
        sample={"part_id": tag("id")},
    )
    assert (await binding.read(["sample.part_id"]))["sample.part_id"].value == "P"
    with pytest.raises(NodeUnfit, match=r"write_back.done: .* is an array of 1 dimension .* 'index=0;nsu="):
        await bound({"done": node_of(rank=1, value=[False])})


@pytest.mark.parametrize(
    ("flags", "index", "says"),
    [
        (array(ObjectIds.Boolean, [False, False]), 2, "has 2 elements, counted from 0: index is at most 1"),
        (node_of(value=False), 0, "is no array: without index=0; it is the node itself"),
        (node_of(value=[[False], [True]], rank=2), 0, "several dimensions"),
        (array(ObjectIds.Int16, [1, 2]), 0, "is Int16; it must be Boolean"),
    ],
)
async def test_an_element_that_is_not_there_or_of_another_type_is_refused(flags: Any, index: int, says: str) -> None:
    with pytest.raises(NodeUnfit, match=rf"when\.node: .*{says}"):
        await bound({"flags": flags}, when={"kind": "edge", "node": f"index={index};{tag('flags')}"})


async def test_elements_are_written_where_the_server_gives_them_singly() -> None:
    verdicts, done = array(ObjectIds.String, ["", "", ""]), array(ObjectIds.Boolean, [False])
    binding = await bound(
        {"verdicts": verdicts, "flags": done},
        {"verdict": f"index=2;{tag('verdicts')}", "done": f"index=0;{tag('flags')}"},
    )
    assert binding.elements == {"verdict": 2, "done": 0}
    assert binding.refused == {}


@pytest.mark.parametrize("content", [("", "", ""), ("",)], ids=["an array", "an array of one"])
@pytest.mark.parametrize(
    ("ranges", "says"),
    [(False, "a write would replace the whole array"), (None, "does not give one element .*BadIndexRangeNoData")],
)
async def test_no_element_is_written_where_the_server_would_write_the_array(
    content: tuple[str, ...], ranges: bool | None, says: str
) -> None:
    for role in ("verdict", "request_id"):
        with pytest.raises(NodeUnfit, match=rf"write_back\.{role}: .*{says}") as caught:
            await bound(
                {"texts": array(ObjectIds.String, list(content), ranges=ranges)}, {role: f"index=0;{tag('texts')}"}
            )
        assert "let the PLC have a scalar node" in str(caught.value.remedy)
