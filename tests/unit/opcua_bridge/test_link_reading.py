"""A Read response is read as OPC UA writes it, with picoseconds and without; what breaks it is `Malformed`."""

import struct
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary, variant_to_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from lineside_opcua_bridge.link.publishing import Malformed
from lineside_opcua_bridge.link.reading import decode_values

SOURCE = datetime(2026, 11, 29, 12, 0, 0, 123456, tzinfo=UTC)
SERVER = SOURCE + timedelta(milliseconds=7)


def ticks(moment: datetime) -> bytes:
    return struct.pack("<q", (moment - datetime(1601, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10 + 3)


def response(*values: bytes, status: int = 0) -> bytes:
    """Return a Read response whose values are these bytes: OPC 10000-6, 5.2.2.17, written by hand."""
    head = ua.ReadResponse()
    head.ResponseHeader.ServiceResult = ua.StatusCode(ua.UInt32(status))
    without = bytes(struct_to_binary(head))[:-8]  # the two empty arrays at its end
    return without + struct.pack("<i", len(values)) + b"".join(values) + struct.pack("<i", -1)


def value(
    variant: ua.Variant | None, *, code: int | None, source: bool, server: bool, pico: tuple[bool, bool]
) -> bytes:
    parts = [
        (0x01, variant is not None, bytes(variant_to_binary(variant)) if variant is not None else b""),
        (0x02, code is not None, struct.pack("<I", code or 0)),
        (0x04, source, ticks(SOURCE)),
        (0x10, pico[0], struct.pack("<H", 1234)),
        (0x08, server, ticks(SERVER)),
        (0x20, pico[1], struct.pack("<H", 5678)),
    ]
    mask = sum(bit for bit, has, _bytes in parts if has)
    return bytes([mask]) + b"".join(content for _bit, has, content in parts if has)


@pytest.mark.parametrize(("source", "server", "one", "two"), list(product([False, True], repeat=4)))
def test_each_part_is_read_at_its_place(source: bool, server: bool, one: bool, two: bool) -> None:
    made: list[dict[str, Any]] = [
        {"variant": ua.Variant(1.5), "code": None},
        {"variant": ua.Variant([1, 2], ua.VariantType.Int32), "code": 0x480},
        {"variant": None, "code": 0x80340000},
        {"variant": ua.Variant("text"), "code": 0},
    ]
    body = response(*(value(**each, source=source, server=server, pico=(one, two)) for each in made))
    read = decode_values(body)
    assert [each.Value.Value if each.Value else None for each in read] == [1.5, [1, 2], None, "text"]
    assert [each.StatusCode.value for each in read] == [0, 0x480, 0x80340000, 0]
    assert {each.SourceTimestamp for each in read} == {SOURCE if source else None}
    assert {each.ServerTimestamp for each in read} == {SERVER if server else None}


def test_a_service_that_failed_raises_its_status() -> None:
    with pytest.raises(UaStatusCodeError, match="BadTooManyOperations"):
        decode_values(response(status=ua.StatusCodes.BadTooManyOperations))


def test_a_response_that_ends_too_soon_is_malformed() -> None:
    body = response(value(ua.Variant("a text"), code=0, source=True, server=True, pico=(True, True)))
    for end in range(len(body) - 4):
        with pytest.raises(Malformed):
            decode_values(body[:end])
