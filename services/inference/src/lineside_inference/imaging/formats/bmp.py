"""BMP: the DIB headers of Windows, uncompressed. The usual masks are OpenCV's to decode, all others are read here.

OpenCV takes 32 bits with any masks for blue, green, red of 8 bits each where the header has 40 bytes, and cuts wider
ones; the masks stand at byte 54 in every header that has them.
"""
# ruff: noqa: PLR2004 - the numbers are the format's own: offsets and sizes of its headers

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageTruncated, ImageUndecodable
from lineside_inference.imaging.formats.header import ALLOWED, Header

_MASKED = 3
_ROWS = 64  # worked on at once: the arithmetic needs several times the room of the image
_USUAL = frozenset(
    {(16, 0x7C00, 0x03E0, 0x001F), (16, 0xF800, 0x07E0, 0x001F), (32, 0x00FF0000, 0x0000FF00, 0x000000FF)}
)


@dataclass(frozen=True)
class Fields:
    """What the file header and the DIB header say; `masks` are those of red, green, blue where they stand there."""

    offset: int
    width: int
    height: int
    is_top_down: bool
    bits: int
    compression: int
    masks: tuple[int, ...]

    @property
    def stride(self) -> int:
        """Bytes of a row, filled up to 4."""
        return (self.width * self.bits + 31) // 32 * 4


def _fields(data: bytes | bytearray) -> Fields:
    offset, size = struct.unpack_from("<II", data, 10)
    if size == 12:
        width, height, _planes, bits = struct.unpack_from("<HHHH", data, 18)
        return Fields(offset, width, height, is_top_down=False, bits=bits, compression=0, masks=())
    if size < 40:
        raise ImageUndecodable(f"the BMP has an unknown header of {size} bytes", remedy=ALLOWED)
    width, height, _planes, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    masks = struct.unpack_from("<III", data, 54) if compression == _MASKED else ()
    behind = max(14 + size, 66 if masks else 0)
    if offset < behind:
        raise ImageUndecodable(f"the BMP says that its pixels begin at byte {offset}, inside its header of {behind}")
    return Fields(offset, width, abs(height), height < 0, bits, compression, masks)


def read_header(data: bytes | bytearray) -> Header:
    """Return the size; raises ImageUndecodable for what is compressed, or has masks that are none."""
    found = _fields(data)
    if found.bits not in {1, 4, 8, 16, 24, 32} or found.compression not in {0, _MASKED}:
        raise ImageUndecodable(
            f"the BMP has {found.bits} bits a pixel and compression {found.compression}", remedy="Give it uncompressed"
        )
    if found.compression == _MASKED:
        _check_masks(found)
    return Header("bmp", found.width, found.height)


def _check_masks(found: Fields) -> None:
    taken = 0
    for mask in found.masks:
        run = mask >> _shift(mask) if mask else 0
        if (
            found.bits not in {16, 32}
            or not run
            or run & (run + 1)
            or run > 0xFFFF
            or mask >> found.bits
            or mask & taken
        ):
            shown = ", ".join(f"{each:08x}" for each in found.masks)
            raise ImageUndecodable(f"the BMP has {found.bits} bits a pixel and the masks {shown}", remedy=ALLOWED)
        taken |= mask


def _shift(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def check(data: bytes | bytearray, header: Header) -> None:
    """Check that there are as many bytes as the header says."""
    del header
    found = _fields(data)
    needed = found.offset + found.stride * found.height
    if len(data) < needed:
        raise ImageTruncated(f"the BMP needs {needed} bytes by its header and has {len(data)}")


def pixels(data: bytes, header: Header) -> NDArray[np.uint8] | None:
    """Return the image, BGR, of masks that OpenCV does not take; None for the others."""
    found = _fields(data)
    if found.compression != _MASKED or (found.bits, *found.masks) in _USUAL:
        return None
    kind = np.dtype(f"<u{found.bits // 8}")
    rows = np.frombuffer(data, kind, found.stride // kind.itemsize * header.height, found.offset)
    rows = rows.reshape(header.height, -1)[:, : header.width]
    if not found.is_top_down:
        rows = rows[::-1]
    out = np.empty((header.height, header.width, 3), np.uint8)
    for channel, mask in enumerate(reversed(found.masks)):
        peak, shift = mask >> _shift(mask), kind.type(_shift(mask))
        for at in range(0, header.height, _ROWS):
            values = (rows[at : at + _ROWS] & kind.type(mask)) >> shift
            out[at : at + _ROWS, :, channel] = (values.astype(np.uint32) * 255 + peak // 2) // peak
    return out
