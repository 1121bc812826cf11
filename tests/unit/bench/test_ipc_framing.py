import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_bench.greengrass.ipc_server.framing import Decoder, Frame, FrameError, encode

VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1),
    st.binary(max_size=50),
    st.text(max_size=50),
)
FRAMES = st.builds(
    Frame, st.dictionaries(st.text(min_size=1, max_size=50), VALUES, max_size=5), st.binary(max_size=300)
)
CONNECT = Frame({":message-type": 4, ":message-flags": 0, ":stream-id": 0, ":version": "0.1.0"}, b'{"authToken": "t"}')


@given(st.lists(FRAMES, max_size=4), st.integers(1, 40))
def test_messages_come_whole_however_they_are_cut(frames: list[Frame], step: int) -> None:
    data = b"".join(encode(frame) for frame in frames)
    decoder, found = Decoder(), []
    for at in range(0, len(data), step):
        found += decoder.feed(data[at : at + step])
    assert found == frames


def test_a_message_is_as_the_specification_has_it() -> None:
    data = encode(Frame({"n": 1}, b"xy"))
    assert data[:8] == struct.pack(">II", 12 + 7 + 2 + 4, 7)
    assert data[8:12] == struct.pack(">I", zlib.crc32(data[:8]))
    assert data[12:19] == b"\x01n\x04\x00\x00\x00\x01"
    assert data[19:21] == b"xy"
    assert data[21:] == struct.pack(">I", zlib.crc32(data[:21]))


@pytest.mark.parametrize("at", [0, 5, 9, 15, -6, -1])
def test_a_damaged_message_is_refused(at: int) -> None:
    data = bytearray(encode(CONNECT))
    data[at] ^= 0x40
    with pytest.raises(FrameError):
        list(Decoder().feed(bytes(data)))


def test_a_longer_message_than_is_taken_is_refused_by_its_prelude() -> None:
    data = encode(Frame(payload=bytes(10_000)))
    with pytest.raises(FrameError, match="10016 bytes; at most 10000"):
        list(Decoder(10_000).feed(data[:12]))


def headers(raw: bytes) -> bytes:
    lengths = struct.pack(">II", 16 + len(raw), len(raw))
    body = lengths + struct.pack(">I", zlib.crc32(lengths)) + raw
    return body + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"\x01n\x0a", "header type 10"),
        (b"\x05n", "ends in the middle"),
        (b"\x01n\x07\x00\x09text", "9 bytes ends in the middle"),
        (b"\x01n\x04\x00", "ends in the middle"),
        (b"\x01\xff\x00", "no text"),
    ],
)
def test_headers_that_are_none_are_refused(raw: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        list(Decoder().feed(headers(raw)))


def test_every_type_of_header_is_read() -> None:
    raw = b"\x01a\x00\x01b\x01\x01c\x02\xff\x01d\x03\x00\x02\x01e\x05" + struct.pack(">q", 2**40)
    raw += b"\x01f\x06\x00\x01z\x01g\x08" + struct.pack(">q", 5) + b"\x01h\x09" + bytes(16)
    [frame] = Decoder().feed(headers(raw))
    assert frame.headers == {
        "a": True,
        "b": False,
        "c": -1,
        "d": 2,
        "e": 2**40,
        "f": b"z",
        "g": 5,
        "h": bytes(16),
    }


@pytest.mark.parametrize("name", ["", "n" * 256])
def test_a_header_needs_a_name_that_fits(name: str) -> None:
    with pytest.raises(FrameError, match="1 to 255"):
        encode(Frame({name: 1}))
