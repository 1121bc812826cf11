"""PNG (ISO/IEC 15948), decoded by OpenCV's libpng."""
# ruff: noqa: PLR2004 - the numbers are the format's own: offsets and sizes of the standard

import struct
import zlib
from collections.abc import Iterator

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import ALLOWED, Header

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_CHUNKS = 65_536


def read_header(data: bytes | bytearray) -> Header:
    """Return size, bits, and what an sBIT chunk says where all channels have as many.

    Raises ImageUndecodable for an animation (APNG) of more than one image.
    """
    length, kind, width, height, bits = struct.unpack_from(">I4sIIB", data, 8)
    if kind != b"IHDR" or length != 13:
        raise ImageUndecodable(f"the PNG begins with chunk {kind!r}, not IHDR", remedy=ALLOWED)
    significant = None
    for kind, at, size in _chunks(data):
        if kind == b"IDAT":
            break
        if kind == b"acTL" and size >= 4 and struct.unpack_from(">I", data, at)[0] > 1:
            raise ImageUndecodable("the PNG is an animation", remedy="Give one image")
        if kind == b"sBIT" and bits == 16:
            significant = _significant(data[at : at + size])
    return Header("png", width, height, bits=16 if bits == 16 else 8, significant=significant)


def _significant(named: bytes | bytearray) -> int | None:
    """Return the bits that sBIT names: one number a channel, also of alpha, which says nothing about the image."""
    bits = set(named if len(named) in {1, 3} else named[:-1])
    return bits.pop() if len(bits) == 1 and bits <= set(range(1, 17)) else None


def _chunks(data: bytes | bytearray) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, offset and length of the content of each chunk that is all there."""
    at = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if at + 12 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at + 8, length
        at += 12 + length
    raise ImageUndecodable(f"the PNG has more than {_MAX_CHUNKS} chunks")


def check(data: bytes | bytearray, header: Header) -> None:
    """Check every chunk's checksum, and that the last one is there."""
    del header
    view = memoryview(data)
    has_pixels = False
    for kind, at, length in _chunks(data):
        if zlib.crc32(view[at - 4 : at + length]) != struct.unpack_from(">I", data, at + length)[0]:
            raise ImageUndecodable(f"the PNG's chunk {kind!r} at byte {at - 8} fails its checksum")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            if not has_pixels:
                raise ImageUndecodable("the PNG cannot be decoded: it has no IDAT chunk")
            return
    raise ImageTruncated(f"the PNG ends before its IEND chunk, after {len(data)} bytes")
