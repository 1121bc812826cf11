"""What an image's header says, read before anything is decoded: format, width, height, and whether it is all there.

A decoder allocates what the header asks for, and OpenCV returns a partly grey picture for a truncated JPEG, so both
are checked here first. JPEG: ITU-T T.81, annex B. PNG: ISO/IEC 15948. BMP: the DIB headers of Windows.
"""
# ruff: noqa: PLR2004 - the numbers are the formats' own: markers, offsets and sizes of the standards named above

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

from lineside_inference.errors import ImageTruncated, ImageUndecodable

Format = Literal["jpeg", "png", "bmp"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""In a scan a byte FF is followed by 0 (stuffing), RSTn or FF (fill); anything else begins a marker."""
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_ALLOWED = "Give a JPEG, PNG or BMP"


@dataclass(frozen=True)
class Header:
    """Format and size in pixels."""

    format: Format
    width: int
    height: int


def sniff(data: bytes | bytearray) -> Format | None:
    """Return the format by the first bytes, or None where it is none of ours."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"BM"):
        return "bmp"
    return None


def read_header(data: bytes) -> Header:
    """Return format and size; raises ImageUndecodable, or ImageTruncated where the header itself is cut off."""
    kind = sniff(data)
    if kind is None:
        start = data[:8].hex(" ") or "nothing"
        raise ImageUndecodable(f"{len(data)} bytes that begin with {start} are no known image", remedy=_ALLOWED)
    try:
        width, height = _SIZES[kind](data)
    except (struct.error, IndexError):
        raise ImageTruncated(f"the {kind.upper()} ends inside its header, after {len(data)} bytes") from None
    if width < 1 or height < 1:
        raise ImageUndecodable(f"the {kind.upper()} says that it is {width} x {height} pixels", remedy=_ALLOWED)
    return Header(kind, width, height)


def check_whole(data: bytes, header: Header) -> None:
    """Check that the image does not end early; raises ImageTruncated, or ImageUndecodable for damage seen."""
    _CHECKS[header.format](data)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    for marker, start in _jpeg_segments(data):
        # SOF0 to SOF15, less DHT, JPG and DAC which share the range.
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            height, width = struct.unpack_from(">HH", data, start + 3)
            return width, height
        if marker == 0xDA:
            raise ImageUndecodable("the JPEG has a scan and no frame before it", remedy=_ALLOWED)
    raise ImageTruncated(f"the JPEG ends before its frame header, after {len(data)} bytes")


def _jpeg_segments(data: bytes) -> "list[tuple[int, int]]":
    """Return (marker, offset of its length) of the segments up to the first scan; stops at the data's end."""
    found: list[tuple[int, int]] = []
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ImageUndecodable(f"the JPEG has no marker at byte {at}", remedy=_ALLOWED)
        marker = data[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # TEM, RSTn: no length
            at += 2
            continue
        found.append((marker, at + 2))
        if marker == 0xDA:
            break
        at += 2 + max(2, int(struct.unpack_from(">H", data, at + 2)[0]))
    return found


def _check_jpeg(data: bytes) -> None:
    segments = _jpeg_segments(data)
    at = next((start for marker, start in segments if marker == 0xDA), None)
    while at is not None and at + 2 <= len(data):
        at += int(struct.unpack_from(">H", data, at)[0])
        found = _MARKER.search(data, at)
        if found is None:
            break
        marker = found.group()[1]
        if marker == 0xD9:
            return
        # Between the scans of a progressive JPEG stand tables, and the next scan; anything else is damage.
        if marker not in _BETWEEN_SCANS:
            raise ImageUndecodable(
                f"the JPEG is damaged: marker FF {marker:02X} at byte {found.start()} in its picture"
            )
        at = found.start() + 2
    raise ImageTruncated(f"the JPEG has no end marker in its {len(data)} bytes")


def _png_size(data: bytes) -> tuple[int, int]:
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if kind != b"IHDR" or length != 13:
        raise ImageUndecodable(f"the PNG begins with chunk {kind!r}, not IHDR", remedy=_ALLOWED)
    return width, height


def _check_png(data: bytes) -> None:
    at = len(PNG_SIGNATURE)
    view = memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            break
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise ImageUndecodable(f"the PNG's chunk {kind!r} at byte {at} fails its checksum")
        if kind == b"IEND":
            return
        at = end + 4
    raise ImageTruncated(f"the PNG ends before its IEND chunk, after {len(data)} bytes")


def _bmp_fields(data: bytes) -> tuple[int, int, int, int, int]:
    """Return offset of the pixels, width, height, bits a pixel, compression."""
    offset, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
        return offset, width, height, bits, 0
    if size < 40:
        raise ImageUndecodable(f"the BMP has an unknown header of {size} bytes", remedy=_ALLOWED)
    width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    return offset, width, abs(height), bits, compression


def _bmp_size(data: bytes) -> tuple[int, int]:
    _offset, width, height, bits, compression = _bmp_fields(data)
    if bits not in {1, 4, 8, 16, 24, 32} or compression not in {0, 3}:
        raise ImageUndecodable(
            f"the BMP has {bits} bits a pixel and compression {compression}", remedy="Give it uncompressed"
        )
    return width, height


def _check_bmp(data: bytes) -> None:
    offset, width, height, bits, _compression = _bmp_fields(data)
    needed = offset + (width * bits + 31) // 32 * 4 * height
    if len(data) < needed:
        raise ImageTruncated(f"the BMP needs {needed} bytes by its header and has {len(data)}")


_SIZES = {"jpeg": _jpeg_size, "png": _png_size, "bmp": _bmp_size}
_CHECKS = {"jpeg": _check_jpeg, "png": _check_png, "bmp": _check_bmp}
