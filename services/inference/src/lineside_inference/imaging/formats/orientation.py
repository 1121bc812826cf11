"""The orientation that a JPEG's EXIF says: how the image is to be turned for people to see it upright."""
# ruff: noqa: PLR2004 - the numbers are the standard's own: tags, types and offsets of EXIF 2.3

import struct
from collections.abc import Callable
from typing import Any

import cv2
from numpy.typing import NDArray

from lineside_inference.errors import RequestError
from lineside_inference.imaging.formats.jpeg import Walk

_TAG, _SHORT = 0x0112, 3
_MOST_ENTRIES = 512
_TURNS: dict[int, Callable[[Any], Any]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def orientation(data: bytes) -> int:
    """Return 2 to 8 as EXIF counts them, or 1 where nothing is to be turned or nothing usable is said."""
    if not data.startswith(b"\xff\xd8\xff"):
        return 1
    walk = Walk()
    try:
        walk.to_frame(data)
        for marker, at, length in walk.segments:
            if marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2):
                found = _in_exif(data[at + 8 : at + length])
                return found if found in _TURNS else 1
    except (RequestError, struct.error):
        return 1  # whoever decodes it says what is wrong
    return 1


def _in_exif(body: bytes) -> int:
    order = "<" if body[:2] == b"II" else ">"
    (at,) = struct.unpack_from(f"{order}I", body, 4)
    (count,) = struct.unpack_from(f"{order}H", body, at)
    for index in range(min(count, _MOST_ENTRIES)):
        tag, kind, number, value = struct.unpack_from(f"{order}HHIH", body, at + 2 + 12 * index)
        if (tag, kind, number) == (_TAG, _SHORT, 1):
            return int(value)
    return 1


def turned(pixels: NDArray[Any], by: int) -> NDArray[Any]:
    """Return pixels upright, of an image with this orientation."""
    return _TURNS[by](pixels) if by in _TURNS else pixels
