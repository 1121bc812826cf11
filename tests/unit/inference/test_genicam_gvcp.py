"""Datagrams of GigE Vision's control protocol, against the bench's simulated camera's own reading of them."""

import ipaddress

import pytest

from lineside_bench.gige_camera import gvcp as camera
from lineside_inference.sources.cameras.genicam import gvcp

MAC = "00:30:53:12:34:56"
NONE = ipaddress.IPv4Address(0)


def test_a_search_asks_everybody_and_wants_an_answer() -> None:
    request = camera.parse(gvcp.search(7))
    assert request is not None
    assert (request.command, request.number, request.payload, request.wants_ack) == (0x0002, 7, b"", True)


def test_an_order_names_the_camera_its_address_its_mask_and_its_router() -> None:
    address, gateway = ipaddress.IPv4Interface("192.0.2.20/24"), ipaddress.IPv4Address("192.0.2.1")
    request = camera.parse(gvcp.force(9, MAC, address, gateway))
    assert request is not None
    assert (request.command, request.number, len(request.payload)) == (0x0004, 9, 56)
    assert camera.forced_address(request.payload) == (bytes.fromhex("003053123456"), bytes((192, 0, 2, 20)))
    assert request.payload[36:40] == bytes((255, 255, 255, 0))
    assert request.payload[52:56] == bytes((192, 0, 2, 1))
    assert gvcp.force(9, MAC, address, NONE)[-4:] == bytes(4)


def test_an_answer_is_read_with_what_it_refuses() -> None:
    request = camera.parse(gvcp.force(9, MAC, ipaddress.IPv4Interface("192.0.2.20/24"), NONE))
    assert request is not None
    answer = gvcp.parse(camera.ack(request))
    assert answer == gvcp.Answer(gvcp.FORCEIP, 9, 0, b"")
    assert answer.problem == ""
    refused = gvcp.parse(camera.ack(request, status=camera.Status.ACCESS_DENIED))
    assert refused is not None
    assert refused.problem.startswith("access denied")
    unknown = gvcp.parse(b"\x80\x99\x00\x05\x00\x00\x00\x09")
    assert unknown is not None
    assert unknown.problem == "status 0x8099"


@pytest.mark.parametrize(
    "datagram", [b"", b"\0" * 7, b"\0\0\0\x07\0\0\0\1", b"\0\0\0\3\0\xf8\0\1short", bytes(range(200))]
)
def test_what_is_no_answer_is_none(datagram: bytes) -> None:
    assert gvcp.parse(datagram) is None


def test_a_camera_that_answers_a_search_is_read_and_one_that_is_too_short_is_none() -> None:
    payload = bytearray(248)
    payload[10:16] = bytes.fromhex("003053123456")
    payload[36:40], payload[52:56] = bytes((192, 0, 2, 7)), bytes((255, 255, 255, 0))
    payload[72:77], payload[104:106], payload[216:219] = b"Maker", b"M1", b"S\xff9"
    assert gvcp.seen(bytes(payload)) == gvcp.Seen(
        MAC, ipaddress.IPv4Address("192.0.2.7"), ipaddress.IPv4Address("255.255.255.0"), "Maker", "M1", "S\ufffd9"
    )
    assert gvcp.seen(bytes(payload[:-1])) is None


def test_a_mac_is_read_in_every_usual_form() -> None:
    for text in ("00:30:53:12:34:56", "00-30-53-12-34-56", "003053123456", "00:30:53:12:34:56 ".upper()):
        assert gvcp.mac_of(text) == MAC
    for text in ("", "00:30:53:12:34", "00:30:53:12:34:5g", "192.0.2.7"):
        with pytest.raises(ValueError, match="is no MAC"):
            gvcp.mac_of(text)


def test_a_register_is_asked_for_and_its_answer_read() -> None:
    assert gvcp.read(0x1234, gvcp.VERSION).hex() == "42010080" + "0004" + "1234" + "00000000"
    answer = gvcp.parse(bytes.fromhex("0000" + "0081" + "0004" + "1234" + "00020000"))
    assert answer == gvcp.Answer(gvcp.READREG, 0x1234, 0, bytes.fromhex("00020000"))
