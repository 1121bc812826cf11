"""Regions of privacy, blacked out in what is kept: in the picture, and in the model's input that was made of it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.contract import CameraSource, Request
from lineside_inference.errors import ImageUndecodable
from lineside_inference.imaging.decode import by_opencv, open_header, view, without_opencv
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.image_headers import check_whole, read_header
from lineside_inference.models.preparation import Preparation
from lineside_inference.settings.capture import Rectangle

Pixels = NDArray[Any]
_SUFFIX = {"jpeg": "jpg", "bmp": "bmp"}
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 92)


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


def decode(data: bytes, *, max_pixels: int, colour: bool = False) -> Pixels:
    """Return a picture's pixels as they are in its file, or as 8-bit BGR where `colour` is wanted.

    Of a damaged JPEG what can be decoded: its evidence shows the damage. Raises ImageTruncated, ImageUndecodable or
    ImageTooLarge.
    """
    header = open_header(data, max_pixels)
    check_whole(data, header)
    if colour:
        return view(data, max_pixels=max_pixels)
    own = without_opencv(data, header)
    return by_opencv(data, header, cv2.IMREAD_UNCHANGED) if own is None else own.copy()


def black_out(pixels: Pixels, rectangles: Iterable[Rectangle]) -> None:
    """Fill rectangles of a picture, all channels, with 0; what is opaque stays so. Every pixel touched is filled."""
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
    """Return a picture's file with rectangles blacked out, and its suffix: JPEG and BMP so again, all others as PNG.

    Raises what `decode` raises, or ImageUndecodable where it cannot be written again.
    """
    pixels = decode(data, max_pixels=max_pixels)
    black_out(pixels, rectangles)
    suffix = _SUFFIX.get(read_header(data).format, "png")
    return encode(pixels, suffix), suffix


def encode(pixels: Pixels, suffix: str) -> bytes:
    """Return pixels as a file: `jpg` of quality 92, `png` or `bmp`; raises ImageUndecodable."""
    try:
        is_done, data = cv2.imencode(f".{suffix}", pixels, _QUALITY if suffix == "jpg" else ())
    except cv2.error as error:
        raise ImageUndecodable(f"the picture cannot be written as {suffix}: {error.err}") from None
    if not is_done:
        raise ImageUndecodable(f"the picture cannot be written as {suffix}")
    return data.tobytes()


def black_out_input(
    tensor: NDArray[Any], preparation: Preparation, geometry: Geometry, rectangles: Sequence[Rectangle]
) -> None:
    """Give rectangles of the picture, in a prepared tensor, the value of black.

    One value more on each side is filled: interpolation mixes neighbours.
    """
    size = np.array((geometry.width, geometry.height) * 2, np.float64)
    for x0, y0, x1, y1 in geometry.to_input(np.array(rectangles, np.float64).reshape(-1, 4) * size):
        columns = slice(max(0, math.floor(x0) - 1), max(0, math.ceil(x1) + 1))
        rows = slice(max(0, math.floor(y0) - 1), max(0, math.ceil(y1) + 1))
        for channel, black in enumerate(preparation.offset):
            plane = tensor[channel] if preparation.is_planar else tensor[:, :, channel]
            plane[rows, columns] = black
