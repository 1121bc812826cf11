"""What is checked of a node at the connect, and what is said about it."""

from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds
from asyncua.ua.status_codes import StatusCodes

from lineside_opcua_bridge.binding import NodeUnfit, check
from lineside_opcua_bridge.nodes import NodeMissing

READ_ONLY, READ_WRITE, WRITE_ONLY = 1, 3, 2


def node(kind: int = ObjectIds.Boolean, value: Any = None, access: int = READ_WRITE, user: int = READ_WRITE) -> Any:
    return [
        ua.DataValue(ua.Variant(ua.NodeId(kind), ua.VariantType.NodeId)),
        ua.DataValue(ua.Variant(value)),
        ua.DataValue(ua.Variant(access, ua.VariantType.Byte)),
        ua.DataValue(ua.Variant(user, ua.VariantType.Byte)),
    ]


@pytest.mark.parametrize(
    ("role", "kind", "expected"),
    [
        ("trigger", ObjectIds.Boolean, ua.VariantType.Boolean),
        ("verdict", ObjectIds.String, ua.VariantType.String),
        ("confidence", ObjectIds.Double, ua.VariantType.Double),
        ("confidence", ObjectIds.Float, ua.VariantType.Float),
        ("done", ObjectIds.Boolean, ua.VariantType.Boolean),
        ("sample.part_id", ObjectIds.ByteString, None),
    ],
)
def test_what_fits(role: str, kind: int, expected: ua.VariantType | None) -> None:
    assert check(role, "nsu=u;s=x", node(kind)) is expected


def test_a_derived_type_is_known_by_its_value() -> None:
    derived = node(value="x")
    derived[0] = ua.DataValue(ua.Variant(ua.NodeId("Vendor.Text", 3), ua.VariantType.NodeId))
    assert check("verdict", "nsu=u;s=x", derived) is ua.VariantType.String


@pytest.mark.parametrize(
    ("role", "attributes", "says"),
    [
        ("trigger", node(ObjectIds.Int32), "is Int32; it must be Boolean"),
        ("verdict", node(ObjectIds.Boolean), "is Boolean; it must be String"),
        ("verdict", node(ObjectIds.String, access=READ_ONLY), "may not be written"),
        ("verdict", node(ObjectIds.String, user=READ_ONLY), "may not be written"),
        ("done", node(access=READ_ONLY), "may not be written"),
        ("done", node(access=WRITE_ONLY), "may not be read"),
    ],
)
def test_what_a_trigger_cannot_do_without_raises(role: str, attributes: Any, says: str) -> None:
    with pytest.raises(NodeUnfit, match=says):
        check(role, "nsu=u;s=x", attributes)


@pytest.mark.parametrize(
    ("role", "attributes", "says"),
    [
        ("confidence", node(ObjectIds.String), "must be Double or Float"),
        ("request_id", node(ObjectIds.String, user=READ_ONLY), "may not be written"),
    ],
)
def test_what_it_can_do_without_is_left_out(role: str, attributes: Any, says: str) -> None:
    assert says in str(check(role, "nsu=u;s=x", attributes))


def test_a_node_that_is_not_there_is_named() -> None:
    missing = [ua.DataValue(StatusCode=ua.StatusCode(StatusCodes.BadNodeIdUnknown))] * 4
    with pytest.raises(NodeMissing, match="'nsu=u;s=x' is not a variable on the server"):
        check("sample.part_id", "nsu=u;s=x", missing)
