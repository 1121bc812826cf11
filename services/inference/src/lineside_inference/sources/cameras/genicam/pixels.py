"""Pixels as they come from a camera, by their PFNC format, as they are judged."""

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import CameraFailed, RequestError
from lineside_inference.imaging.pixel_formats.convert import to_pixels
from lineside_inference.imaging.pixel_formats.layout import Layout


def to_image(
    data: NDArray[np.uint8],
    pixel_format: int,
    width: int,
    height: int,
    *,
    row_padding: int = 0,
    max_pixels: int,
    significant_bits: int | None = None,
) -> NDArray[np.uint8]:
    """Return height x width gray, or height x width x 3 (BGR), of its own memory.

    What follows the image in its buffer is not looked at. Raises CameraFailed where it is short, too large, or of a
    format that is not known.
    """
    try:
        packed = Layout.of(pixel_format, width, height)
        layout = Layout.of(pixel_format, width, height, stride=packed.stride + row_padding)
        pixels = to_pixels(data[: layout.size], layout, max_pixels=max_pixels, significant_bits=significant_bits)
    except RequestError as error:
        raise CameraFailed(f"of what it sends is no image made: {error.what}", remedy=error.remedy) from None
    return pixels.copy() if np.may_share_memory(pixels, data) else pixels
