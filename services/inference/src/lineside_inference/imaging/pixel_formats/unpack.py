"""The values of a raw buffer's rows, from bytes, words or packed bits.

PFNC packs from the lowest bit on (`p`), so that a value lies in one unaligned little-endian word, shifted. GigE Vision
1.x (`Packed`) has the eight high bits of two pixels in the first and the third byte, and the low ones in the second.
"""
# ruff: noqa: PLR2004 - the numbers are the standards' own: bytes of a group, shifts and masks

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.pixel_formats.table import PixelFormat

_ROWS = 32
"""Rows worked on at once: what they need fits a processor's cache."""
Rows = NDArray[np.uint8]


def words(rows: Rows, form: PixelFormat) -> NDArray[np.uint16]:
    """Return values of more than 8 bits as they are, height x width; `rows` are height x bytes, without padding.

    What lies in words is copied only where it is not aligned: such a mosaic OpenCV reads wrongly.
    """
    if form.packing == "words":
        return np.require(rows.view("<u2"), requirements="A")
    return _each(rows, form, np.uint16, _WHOLE[form.packing])


def high_bytes(rows: Rows, form: PixelFormat) -> NDArray[np.uint8]:
    """Return the eight highest bits of packed values, height x width."""
    return _each(rows, form, np.uint8, _HIGH[form.packing])


def _each(rows: Rows, form: PixelFormat, kind: Any, fill: Any) -> NDArray[Any]:
    width = rows.shape[1] * 8 // (form.code >> 16 & 0xFF)
    out = np.empty((len(rows), width), kind)
    for at in range(0, len(rows), _ROWS):
        fill(rows[at : at + _ROWS], out[at : at + _ROWS])
    return out


def _pair(rows: Rows, start: int, step: int) -> NDArray[np.uint16]:
    """Return the two bytes from `start` on of each group of `step` bytes, as one little-endian number."""
    low = rows[:, start::step].astype(np.uint16)
    high = rows[:, start + 1 :: step].astype(np.uint16)
    np.left_shift(high, 8, out=high)
    return np.bitwise_or(low, high, out=low)


def _whole_12p(rows: Rows, out: NDArray[np.uint16]) -> None:
    np.bitwise_and(_pair(rows, 0, 3), 0xFFF, out=out[:, 0::2])
    np.right_shift(_pair(rows, 1, 3), 4, out=out[:, 1::2])


def _high_12p(rows: Rows, out: NDArray[np.uint8]) -> None:
    np.bitwise_or(rows[:, 0::3] >> 4, rows[:, 1::3] << 4, out=out[:, 0::2])
    out[:, 1::2] = rows[:, 2::3]


def _whole_10p(rows: Rows, out: NDArray[np.uint16]) -> None:
    for index in range(4):
        values = _pair(rows, index, 5)
        np.right_shift(values, 2 * index, out=values)
        np.bitwise_and(values, 0x3FF, out=out[:, index::4])


def _high_10p(rows: Rows, out: NDArray[np.uint8]) -> None:
    for index in range(4):
        low, high = rows[:, index::5], rows[:, index + 1 :: 5]
        shift = 2 * index + 2
        if shift == 8:
            out[:, index::4] = high
        else:
            np.bitwise_or(low >> shift, high << (8 - shift), out=out[:, index::4])


def _whole_12_packed(rows: Rows, out: NDArray[np.uint16]) -> None:
    middle = rows[:, 1::3]
    for index, low in enumerate((middle & 0xF, middle >> 4)):
        high = rows[:, 2 * index :: 3].astype(np.uint16)
        np.left_shift(high, 4, out=high)
        np.bitwise_or(high, low, out=out[:, index::2])


def _whole_10_packed(rows: Rows, out: NDArray[np.uint16]) -> None:
    middle = rows[:, 1::3]
    for index, low in enumerate((middle & 3, middle >> 4 & 3)):
        high = rows[:, 2 * index :: 3].astype(np.uint16)
        np.left_shift(high, 2, out=high)
        np.bitwise_or(high, low, out=out[:, index::2])


def _high_packed(rows: Rows, out: NDArray[np.uint8]) -> None:
    out[:, 0::2] = rows[:, 0::3]
    out[:, 1::2] = rows[:, 2::3]


_WHOLE = {"12p": _whole_12p, "10p": _whole_10p, "12Packed": _whole_12_packed, "10Packed": _whole_10_packed}
_HIGH = {"12p": _high_12p, "10p": _high_10p, "12Packed": _high_packed, "10Packed": _high_packed}
