"""What an image's header says, read before anything is decoded: format, width, height, and whether it is all there.

A decoder allocates what the header announces, so the size is bounded first; a truncated image is never decoded.
"""

import re
import struct
from types import ModuleType

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats import bmp, jpeg, pgm, png, tiff, webp
from lineside_inference.imaging.formats.header import ALLOWED, Format, Header

FORMATS: dict[Format, ModuleType] = {"jpeg": jpeg, "png": png, "bmp": bmp, "tiff": tiff, "pgm": pgm, "webp": webp}
MEDIA_TYPES: dict[Format, str] = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
    "pgm": "image/x-portable-anymap",
    "webp": "image/webp",
}
_STARTS: dict[Format, re.Pattern[bytes]] = {
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "png": re.compile(png.SIGNATURE),
    "bmp": re.compile(rb"BM"),
    "tiff": re.compile(rb"II\*\0|MM\0\*"),
    "pgm": re.compile(rb"P[56][\s#]"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def sniff(data: bytes | bytearray | memoryview) -> Format | None:
    """Return the format by the first bytes, or None for any other."""
    return next((kind for kind, start in _STARTS.items() if start.match(data)), None)


def read_header(data: bytes | bytearray) -> Header:
    """Return format, size and depth; raises ImageUndecodable, or ImageTruncated where the header itself is cut off."""
    kind = sniff(data)
    if kind is None:
        start = bytes(data[:8]).hex(" ") or "nothing"
        raise ImageUndecodable(f"{len(data)} bytes that begin with {start} are no known image", remedy=ALLOWED)
    try:
        header: Header = FORMATS[kind].read_header(data)
    except (struct.error, IndexError):
        raise ImageTruncated(f"the {kind.upper()} ends inside its header, after {len(data)} bytes") from None
    if header.width < 1 or header.height < 1:
        raise ImageUndecodable(
            f"the {header.name} says that it is {header.width} x {header.height} pixels", remedy=ALLOWED
        )
    return header


def check_whole(data: bytes | bytearray, header: Header) -> None:
    """Check that the image does not end early; raises ImageTruncated, or ImageUndecodable for damage seen."""
    try:
        FORMATS[header.format].check(data, header)
    except struct.error:
        raise ImageTruncated(f"the {header.name} ends inside its header, after {len(data)} bytes") from None
