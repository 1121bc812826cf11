"""Privacy masks: rectangles that are blacked out in evidence, in the image and in the model's input made of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import CameraSource, Request
from lineside_inference.imaging.decode import decode_all
from lineside_inference.imaging.encode import encode
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.image_headers import read_header
from lineside_inference.models.preparation import Preparation
from lineside_inference.settings.capture import Rectangle

Pixels = NDArray[Any]
_SUFFIX = {"jpeg": "jpg", "bmp": "bmp"}


def masks_of(request: Request, masks: Mapping[str, Sequence[Rectangle]]) -> tuple[Rectangle, ...]:
    """Return the rectangles for a request: those of its camera and those of its station."""
    return masks_for(
        request.source.camera if isinstance(request.source, CameraSource) else None, request.context.station, masks
    )


def masks_for(
    camera: str | None, station: str | None, masks: Mapping[str, Sequence[Rectangle]]
) -> tuple[Rectangle, ...]:
    """Return the rectangles of a camera and of a station."""
    names = dict.fromkeys(name for name in (camera, station) if name is not None)
    return tuple(one for name in names for one in masks.get(name, ()))


def black_out(pixels: Pixels, rectangles: Iterable[Rectangle]) -> None:
    """Fill every pixel that a rectangle touches with 0, in all channels but alpha."""
    height, width = pixels.shape[:2]
    for x0, y0, x1, y1 in rectangles:
        region = pixels[
            math.floor(y0 * height) : math.ceil(y1 * height), math.floor(x0 * width) : math.ceil(x1 * width)
        ]
        if region.ndim == 3:  # noqa: PLR2004 - height x width x channels
            region[:, :, :3] = 0
        else:
            region[...] = 0


def masked_file(data: bytes, rectangles: Sequence[Rectangle], *, max_pixels: int) -> tuple[bytes, str]:
    """Return an image's file with rectangles blacked out, and its suffix: JPEG and BMP so again, all others as PNG.

    Raises what `decode_all` raises, or ImageUndecodable where it cannot be written again.
    """
    pixels = decode_all(data, max_pixels=max_pixels)
    black_out(pixels, rectangles)
    suffix = _SUFFIX.get(read_header(data).format, "png")
    return encode(pixels, suffix), suffix


def black_out_input(
    tensor: NDArray[Any], preparation: Preparation, geometry: Geometry, rectangles: Sequence[Rectangle]
) -> None:
    """Set rectangles of the image, in a prepared tensor, to the value that black has there.

    One value more on each side is filled: interpolation mixes neighbours.
    """
    size = np.array((geometry.width, geometry.height) * 2, np.float64)
    for x0, y0, x1, y1 in geometry.to_input(np.array(rectangles, np.float64).reshape(-1, 4) * size):
        columns = slice(max(0, math.floor(x0) - 1), max(0, math.ceil(x1) + 1))
        rows = slice(max(0, math.floor(y0) - 1), max(0, math.ceil(y1) + 1))
        for channel, black in enumerate(preparation.offset):
            plane = tensor[channel] if preparation.is_planar else tensor[:, :, channel]
            plane[rows, columns] = black
