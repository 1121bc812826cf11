"""The action command as it goes over the wire, read by the bench's camera, and its acknowledgement."""

import struct

import pytest

from lineside_bench.gige_camera import gvcp
from lineside_inference.sources.cameras.genicam.action import Acknowledged, Action, encode, parse

ACTION = Action(0x11223344, 0xFFFFFFFF, 0x2)


def test_the_command_is_as_the_standard_has_it() -> None:
    assert encode(ACTION, 0x0102).hex(" ", 4) == "42010100 000c0102 11223344 ffffffff 00000002"
    scheduled = encode(ACTION, 1, 1 << 60)
    assert scheduled.hex(" ", 4) == "42810100 00140001 11223344 ffffffff 00000002 10000000 00000000"


@pytest.mark.parametrize("at_ns", [None, 1_790_000_000_123_456_789])
def test_a_camera_reads_what_was_meant(at_ns: int | None) -> None:
    request = gvcp.parse(encode(ACTION, 7, at_ns))
    assert request is not None
    assert request.wants_ack
    assert gvcp.action(request) == gvcp.Action(0x11223344, 0xFFFFFFFF, 0x2, at_ns)


@pytest.mark.parametrize(
    ("status", "problem"), [(0, ""), (0x8015, "it came after its time"), (0x8099, "status 0x8099")]
)
def test_an_acknowledgement_says_whether_the_camera_acts(status: int, problem: str) -> None:
    assert parse(struct.pack(">HHHH4x", status, 0x0101, 4, 9)) == Acknowledged(9, problem)


@pytest.mark.parametrize(
    "datagram", [b"", b"\0" * 7, struct.pack(">HHHH", 0, 0x0081, 0, 9), struct.pack(">HHHH", 0, 0x0101, 4, 9)]
)
def test_what_is_no_acknowledgement_is_none(datagram: bytes) -> None:
    assert parse(datagram) is None
