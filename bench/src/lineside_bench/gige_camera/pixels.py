"""A picture as a camera sends it: the pixel formats, by GenICam's names and codes, and their bytes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""Gray, height x width, or colours, height x width x 3 in the order red, green, blue."""
_COLOURS = 3
_LUMA = (77, 150, 29)


@dataclass(frozen=True)
class PixelFormat:
    """A format: its PFNC code, whose bits 16 to 23 are the bits a pixel."""

    name: str
    code: int
    encode: Callable[[Picture], bytes]

    def size(self, width: int, height: int) -> int:
        """Return the bytes of an image without padding."""
        return (width * height * (self.code >> 16 & 0xFF) + 7) // 8


def placed(picture: Picture, *, offset_x: int, offset_y: int, width: int, height: int) -> Picture:
    """Return the region of a sensor; what the picture does not cover is black."""
    seen = picture[offset_y : offset_y + height, offset_x : offset_x + width]
    missing = [(0, height - seen.shape[0]), (0, width - seen.shape[1]), (0, 0)][: picture.ndim]
    return np.pad(seen, missing) if any(below for _above, below in missing) else seen


def gray(picture: Picture) -> Picture:
    """Return brightness."""
    if picture.ndim != _COLOURS:
        return picture
    weighed = sum(picture[..., number].astype(np.uint16) * weight for number, weight in enumerate(_LUMA))
    return np.asarray(np.asarray(weighed) >> 8, np.uint8)


def mosaic(picture: Picture) -> Picture:
    """Return what a sensor with filters sees: red, green in the even rows, green, blue in the odd ones."""
    colours = _colours(picture)
    seen = colours[..., 1].copy()
    seen[0::2, 0::2] = colours[0::2, 0::2, 0]
    seen[1::2, 1::2] = colours[1::2, 1::2, 2]
    return seen


def _colours(picture: Picture) -> Picture:
    return picture if picture.ndim == _COLOURS else np.repeat(picture[..., None], _COLOURS, axis=2)


def _words(values: Picture, bits: int) -> bytes:
    return _widened(values, bits).astype("<u2").tobytes()


def _packed12(values: Picture) -> bytes:
    """Return two values in three bytes, the lowest bits first."""
    flat = _widened(values, 12).ravel()
    flat = np.append(flat, np.uint16(0)) if flat.size % 2 else flat
    first, second = flat[0::2], flat[1::2]
    three = np.stack((first & 0xFF, first >> 8 | (second & 0x0F) << 4, second >> 4), axis=1).astype(np.uint8)
    return three.tobytes()[: (values.size * 12 + 7) // 8]


def _widened(values: Picture, bits: int) -> NDArray[np.uint16]:
    """Return values of more bits, of the same brightness: 255 becomes the largest."""
    wide = values.astype(np.uint16)
    return np.asarray(wide << (bits - 8) | wide >> (16 - bits), np.uint16)


FORMATS: Mapping[str, PixelFormat] = {
    each.name: each
    for each in (
        PixelFormat("Mono8", 0x01080001, lambda picture: gray(picture).tobytes()),
        PixelFormat("Mono12", 0x01100005, lambda picture: _words(gray(picture), 12)),
        PixelFormat("Mono12p", 0x010C0047, lambda picture: _packed12(gray(picture))),
        PixelFormat("Mono16", 0x01100007, lambda picture: _words(gray(picture), 16)),
        PixelFormat("BayerRG8", 0x01080009, lambda picture: mosaic(picture).tobytes()),
        PixelFormat("BayerRG12p", 0x010C0059, lambda picture: _packed12(mosaic(picture))),
        PixelFormat("RGB8", 0x02180014, lambda picture: _colours(picture).tobytes()),
        PixelFormat("BGR8", 0x02180015, lambda picture: _colours(picture)[..., ::-1].tobytes()),
    )
}
BY_CODE: Mapping[int, PixelFormat] = {each.code: each for each in FORMATS.values()}
