"""From pixels to the model's input, by its card, written straight into the memory that the engine reads."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.shrink import is_quicker, shrink
from lineside_inference.models.preparation import Preparation

LETTERBOX_VALUE = 114
"""The grey beside a letterboxed image, the value that YOLO models are trained with."""


def prepare(
    pixels: NDArray[np.uint8],
    preparation: Preparation,
    out: NDArray[np.floating] | NDArray[np.uint8],
    *,
    original: tuple[int, int] | None = None,
) -> Geometry:
    """Write the model's input for an image into `out`, without a copy of it between; return the geometry.

    `pixels` is height x width x 3 (BGR) or height x width (gray, which gives each channel of a colour input the same),
    `out` has the card's shape and datatype. `original` is the image's width and height before a reduced decode, from
    which the geometry is computed.
    """
    geometry = Geometry.of(preparation, pixels.shape[1], pixels.shape[0], original)
    fitted = _fit(pixels, preparation, geometry)
    if fitted.ndim == 2:  # noqa: PLR2004 - height x width
        fitted = fitted[:, :, np.newaxis]
    has_colours = fitted.shape[2] > 1
    for channel, colour in enumerate(preparation.order):
        taken = colour if has_colours else 0
        plane = out[channel] if preparation.is_planar else out[:, :, channel]
        if out.dtype == np.uint8:  # the card allows UINT8 only without scale, mean and std
            plane[...] = fitted[:, :, taken]
            continue
        np.multiply(fitted[:, :, taken], preparation.gain[channel], out=plane, casting="unsafe")
        np.add(plane, preparation.offset[channel], out=plane, casting="unsafe")
    return geometry


def _fit(pixels: NDArray[np.uint8], preparation: Preparation, geometry: Geometry) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    size = (geometry.fitted_width, geometry.fitted_height)
    if size != (width, height):
        if preparation.interpolation == cv2.INTER_AREA and is_quicker(pixels, *size):
            pixels = shrink(pixels, *size)
        else:
            pixels = cv2.resize(pixels, size, interpolation=preparation.interpolation)  # type: ignore[assignment]  # uint8 in, uint8 out
    if size == (preparation.width, preparation.height):
        return pixels
    canvas = np.full((preparation.height, preparation.width, *pixels.shape[2:]), LETTERBOX_VALUE, np.uint8)
    canvas[geometry.top : geometry.top + size[1], geometry.left : geometry.left + size[0]] = pixels
    return canvas
