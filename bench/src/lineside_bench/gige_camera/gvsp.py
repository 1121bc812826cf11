"""GVSP, the stream protocol of GigE Vision: a frame as packets (leader, payload, trailer), without a socket."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

_LEADER, _TRAILER, _PAYLOAD = 1, 2, 3
_IMAGE, _CHUNKED = 0x0001, 0x4000
IP_UDP_GVSP = 20 + 8 + 8
"""Bytes of a packet's headers, which its size (SCPS) counts."""
MOST_BLOCK = 0xFFFF
"""The largest block id of 16 bits; 1 follows it, 0 is none."""
_HEADER = struct.Struct(">HHI")


@dataclass(frozen=True)
class Leader:
    """What a frame says of itself before its pixels; `timestamp` in ticks of the camera's clock."""

    block: int
    timestamp: int
    pixel_format: int
    width: int
    height: int
    offset_x: int = 0
    offset_y: int = 0
    is_chunked: bool = False

    @property
    def payload_type(self) -> int:
        """Return the type: an image, with chunks behind it or without."""
        return _IMAGE | _CHUNKED if self.is_chunked else _IMAGE


def packets(leader: Leader, payload: bytes, packet_size: int) -> list[bytes]:
    """Return a frame's packets; each, with the headers of IP, is at most `packet_size` bytes long."""
    step = packet_size - IP_UDP_GVSP
    view = memoryview(payload)
    parts = [view[start : start + step] for start in range(0, len(payload), step)]
    body = [packet(leader.block, _PAYLOAD, number, part) for number, part in enumerate(parts, 1)]
    return [_leader(leader), *body, _trailer(leader, len(payload), len(body) + 1)]


def packet(block: int, kind: int, number: int, data: bytes | memoryview = b"", status: int = 0) -> bytes:
    """Return one packet; `number` counts from the leader's 0."""
    return _HEADER.pack(status, block, kind << 24 | number) + data


def unavailable(block: int, number: int, status: int) -> bytes:
    """Return what is sent for a packet that is not there any more."""
    return packet(block, _PAYLOAD, number, status=status)


def probe(size: int) -> bytes:
    """Return a packet of so many bytes, with the headers of IP, that asks whether the way carries it."""
    return packet(0, 0, 0, bytes(size - IP_UDP_GVSP))


def with_chunks(image: bytes, image_id: int, chunks: Sequence[tuple[int, bytes]]) -> bytes:
    """Return pixels and chunks as one payload: each piece filled up to whole words, with id and length behind it."""
    return b"".join(
        piece + bytes(-len(piece) % 4) + struct.pack(">II", number, len(piece) + -len(piece) % 4)
        for number, piece in ((image_id, image), *chunks)
    )


def next_block(block: int) -> int:
    """Return the block id that follows one."""
    return block % MOST_BLOCK + 1


def _leader(leader: Leader) -> bytes:
    data = struct.pack(
        ">HHQIIIIIHH",
        0,
        leader.payload_type,
        leader.timestamp,
        leader.pixel_format,
        leader.width,
        leader.height,
        leader.offset_x,
        leader.offset_y,
        0,
        0,
    )
    return packet(leader.block, _LEADER, 0, data)


def _trailer(leader: Leader, length: int, number: int) -> bytes:
    data = struct.pack(">HHI", 0, leader.payload_type, leader.height)
    chunked = struct.pack(">II", length, 1) if leader.is_chunked else b""
    return packet(leader.block, _TRAILER, number, data + chunked)
