"""TIFF 6.0 as cameras write it: one page in strips, gray or RGB of 8 or 16 bits, as it is or with deflate.

Read here and not by libtiff through OpenCV, which gives an image back whose strips it could not decode. Every count
is bounded before it is followed.
"""
# ruff: noqa: PLR2004 - the numbers are the format's own: tags, types and values of the standard

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import Header

_MAX_TAGS = 256
_MAX_VALUES = 16
_MAX_STRIPS = 65_536
_TYPES = {1: ("B", 1), 3: ("H", 2), 4: ("I", 4)}
_PLAIN, _DEFLATE = 1, frozenset({8, 32_946})
_REMEDY = "Give it as one page of strips, gray or RGB, 8 or 16 bits, uncompressed or with deflate"

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR, PREDICTOR, TILE, FORMAT = 273, 277, 278, 279, 284, 317, 322, 339
_ONE = {COMPRESSION: 1, FILL_ORDER: 1, SAMPLES: 1, PLANAR: 1, PREDICTOR: 1, FORMAT: 1}
"""What holds where the tag is absent."""
_WANTED = frozenset({WIDTH, HEIGHT, BITS, PHOTOMETRIC, OFFSETS, ROWS, COUNTS, TILE, *_ONE})


@dataclass(frozen=True)
class Page:
    """The one page: how its values are laid out. `strips` are offset and size in bytes of each."""

    order: str
    width: int
    height: int
    bits: int
    samples: int
    is_deflated: bool
    has_differences: bool
    is_white_zero: bool
    rows_a_strip: int
    strips: tuple[tuple[int, int], ...]

    def strip_bytes(self, index: int) -> int:
        """Return how many bytes the values of a strip have."""
        rows = min(self.rows_a_strip, self.height - index * self.rows_a_strip)
        return rows * self.width * self.samples * self.bits // 8


def _read(data: bytes | bytearray) -> Page:
    order = "<" if data[:2] == b"II" else ">"
    tags = _tags(data, order)
    if TILE in tags:
        raise _refused("is in tiles")
    for tag, name in ((WIDTH, "width"), (HEIGHT, "height"), (OFFSETS, "strips"), (COUNTS, "strip sizes")):
        if not tags.get(tag):
            raise _refused(f"has no {name}")
    one = {tag: tags.get(tag, (value,))[0] for tag, value in _ONE.items()}
    photometric = tags.get(PHOTOMETRIC, (-1,))[0]
    bits = set(tags.get(BITS, (1,)))
    if one[COMPRESSION] != _PLAIN and one[COMPRESSION] not in _DEFLATE:
        raise _refused(f"has compression {one[COMPRESSION]}")
    if len(bits) != 1 or not bits <= {8, 16} or set(tags.get(FORMAT, (1,))) != {1}:
        raise _refused(f"has {' and '.join(map(str, sorted(bits)))} bits a value, of format {tags.get(FORMAT, (1,))}")
    if (photometric, one[SAMPLES]) not in {(0, 1), (1, 1), (2, 3), (2, 4)} or (photometric == 0 and 16 in bits):
        raise _refused(f"has {one[SAMPLES]} values a pixel and photometric interpretation {photometric}")
    if one[PLANAR] != 1 or one[FILL_ORDER] != 1 or one[PREDICTOR] not in {1, 2}:
        raise _refused(f"has planes {one[PLANAR]}, fill order {one[FILL_ORDER]}, predictor {one[PREDICTOR]}")
    height = tags[HEIGHT][0]
    rows = min(max(1, tags.get(ROWS, (height,))[0]), max(1, height))
    if not len(tags[OFFSETS]) == len(tags[COUNTS]) == -(-height // rows):
        raise _refused(f"has {len(tags[OFFSETS])} strips of {rows} rows for {height} rows")
    is_deflated = one[COMPRESSION] != _PLAIN
    return Page(
        order=order,
        width=tags[WIDTH][0],
        height=height,
        bits=bits.pop(),
        samples=one[SAMPLES],
        is_deflated=is_deflated,
        has_differences=is_deflated and one[PREDICTOR] == 2,
        is_white_zero=photometric == 0,
        rows_a_strip=rows,
        strips=tuple(zip(tags[OFFSETS], tags[COUNTS], strict=True)),
    )


def _tags(data: bytes | bytearray, order: str) -> dict[int, tuple[int, ...]]:
    """Return the values of the tags that are needed here; raises ImageTruncated where one lies behind the end."""
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    if count > _MAX_TAGS:
        raise _refused(f"has {count} tags; at most {_MAX_TAGS} are read")
    found: dict[int, tuple[int, ...]] = {}
    for index in range(count):
        entry = at + 2 + 12 * index
        tag, kind, length = struct.unpack_from(f"{order}HHI", data, entry)
        if tag not in _WANTED or kind not in _TYPES:
            continue
        letter, size = _TYPES[kind]
        if tag in found:
            raise _refused(f"has tag {tag} twice")
        most = _MAX_STRIPS if tag in {OFFSETS, COUNTS} else _MAX_VALUES
        if length > most:
            raise _refused(f"has {length} values of tag {tag}; at most {most} are read")
        where = entry + 8 if length * size <= 4 else struct.unpack_from(f"{order}I", data, entry + 8)[0]
        found[tag] = struct.unpack_from(f"{order}{length}{letter}", data, where)
        if not found[tag]:
            raise _refused(f"has no value of tag {tag}")
    if struct.unpack_from(f"{order}I", data, at + 2 + 12 * count)[0]:
        raise _refused("has more than one page")
    return found


def _refused(why: str) -> ImageUndecodable:
    return ImageUndecodable(f"the TIFF {why}", remedy=_REMEDY)


def read_header(data: bytes | bytearray) -> Header:
    """Return size and bits; raises ImageUndecodable for what is not read here."""
    page = _read(data)
    return Header("tiff", page.width, page.height, bits=page.bits)


def check(data: bytes | bytearray, header: Header) -> None:
    """Check that every strip is all there."""
    del header
    page = _read(data)
    if sum(size for _, size in page.strips) > len(data):
        raise ImageTruncated(f"the TIFF's strips need more than its {len(data)} bytes")
    for index, (offset, size) in enumerate(page.strips):
        if offset + size > len(data) or (not page.is_deflated and size < page.strip_bytes(index)):
            raise ImageTruncated(f"the TIFF lost strip {index} of {len(page.strips)}: it has {len(data)} bytes")


def pixels(data: bytes, header: Header) -> NDArray[Any]:
    """Return the values as they are: height x width, or height x width x 3 (BGR), uint8 or uint16."""
    page = _read(data)
    view = memoryview(data)
    plain = b"".join(_strip(view[at : at + size], index, page) for index, (at, size) in enumerate(page.strips))
    kind = np.dtype(f"{page.order}u{page.bits // 8}")
    values = np.frombuffer(plain, kind).astype(kind.newbyteorder("="))
    values = values.reshape(header.height, header.width, page.samples)
    if page.has_differences:
        np.cumsum(values, axis=1, dtype=values.dtype, out=values)
    if page.is_white_zero:
        np.bitwise_not(values, out=values)
    return values[:, :, 0] if page.samples == 1 else np.ascontiguousarray(values[:, :, 2::-1])


def _strip(packed: memoryview, index: int, page: Page) -> bytes | memoryview:
    needed = page.strip_bytes(index)
    if not page.is_deflated:
        return packed[:needed]
    undo = zlib.decompressobj()
    try:
        plain = undo.decompress(packed, needed + 1)
    except zlib.error as error:
        raise ImageTruncated(f"the TIFF is damaged in strip {index}: {error}") from None
    if len(plain) != needed or not undo.eof:
        raise ImageTruncated(f"the TIFF is damaged in strip {index}: its {needed} bytes are not what it holds")
    return plain
