"""From a raw buffer to pixels: gray, or colour in the order blue, green, red."""
# ruff: noqa: PLR2004 - bits of a byte, and values of a pair of pixels

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageBitDepth
from lineside_inference.imaging.formats import depth
from lineside_inference.imaging.pixel_formats import unpack
from lineside_inference.imaging.pixel_formats.layout import Layout

Buffer = bytes | bytearray | memoryview | NDArray[np.uint8]

_DEMOSAIC = {
    "RG": cv2.COLOR_BayerRGGB2BGR,
    "GR": cv2.COLOR_BayerGRBG2BGR,
    "GB": cv2.COLOR_BayerGBRG2BGR,
    "BG": cv2.COLOR_BayerBGGR2BGR,
}
"""By OpenCV's names of four letters, which follow the mosaic's rows; those of two name its second row and column."""


def to_pixels(buffer: Buffer, layout: Layout, *, max_pixels: int, significant_bits: int | None = None) -> NDArray[Any]:
    """Return the image in 8 bits: height x width, or height x width x 3 (BGR), uint8.

    Of more bits the eight highest of the significant ones count: those of the format's name, of Mono16 also fewer, by
    `significant_bits`. What needs no conversion is a view of the buffer. Raises ImageTooLarge, ImageTruncated,
    ImageUndecodable, or ImageBitDepth where a value is larger than its bits allow.
    """
    rows = _rows(buffer, layout, max_pixels)
    form, bits = layout.format, _significant(layout, significant_bits)
    if form.packing == "bytes":
        values = rows
    elif form.packing == "words":
        values = depth.of_bits(unpack.words(rows, form), bits, form.name)
    else:
        values = unpack.high_bytes(rows, form)
    return _coloured(values, layout)


def to_values(buffer: Buffer, layout: Layout, *, max_pixels: int) -> NDArray[Any]:
    """Return the image with all of its bits: as `to_pixels`, but uint16 where a value has more than 8."""
    rows = _rows(buffer, layout, max_pixels)
    is_deep = layout.format.packing != "bytes"
    return _coloured(unpack.words(rows, layout.format) if is_deep else rows, layout)


def _rows(buffer: Buffer, layout: Layout, max_pixels: int) -> NDArray[np.uint8]:
    """Return the rows without their padding, height x bytes, a view of the buffer."""
    layout.check_pixels(max_pixels)
    flat = memoryview(buffer)  # type: ignore[arg-type]  # an array is a buffer, which Python 3.11's types do not say
    layout.check_size(flat.nbytes)
    shape = (layout.height, layout.format.row_bytes(layout.width))
    return np.ndarray(shape, np.uint8, flat, strides=(layout.stride, 1))


def _significant(layout: Layout, said: int | None) -> int:
    bits = layout.format.bits
    if said is None or bits == 8:
        return bits
    if bits not in {said, 16}:
        raise ImageBitDepth(
            f"{layout.format.name} has {bits} significant bits, and significant_bits says {said}",
            remedy="Correct significant_bits, or remove it",
        )
    return said


def _coloured(values: NDArray[Any], layout: Layout) -> NDArray[Any]:
    colour = layout.format.colour
    if colour == "mono":
        return values
    if colour in _DEMOSAIC:
        return cv2.cvtColor(values, _DEMOSAIC[colour])
    if colour in {"rgb", "bgr"}:
        pixels = values.reshape(layout.height, layout.width, 3)
        return pixels if colour == "bgr" else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return _of_yuv(values, layout)


def _of_yuv(values: NDArray[np.uint8], layout: Layout) -> NDArray[Any]:
    """Return BGR of YUV 4:2:2 as cameras have it: of the full range, which OpenCV's own conversion of it is not."""
    luma = 0 if layout.format.colour == "yuyv" else 1
    chroma = 1 - luma
    full = np.empty((layout.height, layout.width, 3), np.uint8)
    full[:, :, 0] = values[:, luma::2]
    for channel, at in ((1, chroma + 2), (2, chroma)):  # V and U are Cr and Cb
        full[:, 0::2, channel] = full[:, 1::2, channel] = values[:, at::4]
    return cv2.cvtColor(full, cv2.COLOR_YCrCb2BGR, full)
