"""WebP (RFC 9649), decoded by OpenCV's libwebp."""

import struct

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import ALLOWED, Header

_ANIMATION = 0x02


def read_header(data: bytes | bytearray) -> Header:
    """Return the size; raises ImageUndecodable for an animation."""
    kind = bytes(data[12:16])
    if kind == b"VP8 ":
        start, width, height = struct.unpack_from("<3sHH", data, 23)
        if start != b"\x9d\x01\x2a":
            raise ImageUndecodable("the WebP has no key frame", remedy=ALLOWED)
        return Header("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        _signature, size = struct.unpack_from("<BI", data, 20)
        return Header("webp", (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        flags, *low_and_high = struct.unpack_from("<B3xHBHB", data, 20)
        if flags & _ANIMATION:
            raise ImageUndecodable("the WebP is an animation", remedy="Give one image")
        width, high_width, height, high_height = low_and_high
        return Header("webp", (width | high_width << 16) + 1, (height | high_height << 16) + 1)
    raise ImageUndecodable(f"the WebP begins with chunk {kind!r}", remedy=ALLOWED)


def check(data: bytes | bytearray, header: Header) -> None:
    """Check that there are as many bytes as it says; what is missing inside shows when it is decoded."""
    del header
    needed = struct.unpack_from("<I", data, 4)[0] + 8
    if len(data) < needed:
        raise ImageTruncated(f"the WebP needs {needed} bytes by its header and has {len(data)}")
