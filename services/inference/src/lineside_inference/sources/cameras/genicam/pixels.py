"""Pixels as they come from a camera, by their PFNC format, as they are judged."""

from collections.abc import Iterator
from contextlib import contextmanager

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
    with _of_what_it_sends():
        layout = _layout(pixel_format, width, height, row_padding)
        pixels = to_pixels(data[: layout.size], layout, max_pixels=max_pixels, significant_bits=significant_bits)
    return pixels.copy() if np.may_share_memory(pixels, data) else pixels


def to_raw(
    data: NDArray[np.uint8], pixel_format: int, width: int, height: int, *, row_padding: int = 0, max_pixels: int
) -> tuple[bytes, Layout] | None:
    """Return the bytes of an image as they came, of their own memory, and how they lie: pixels may be made of them.

    None for a format of which a value may be larger than its bits allow, which only the conversion sees. Raises
    CameraFailed as `to_image` does.
    """
    with _of_what_it_sends():
        layout = _layout(pixel_format, width, height, row_padding)
        if layout.format.packing == "words":
            return None
        layout.check_pixels(max_pixels)
        raw = data[: layout.size]
        layout.check_size(raw.nbytes)
        return raw.tobytes(), layout


def _layout(pixel_format: int, width: int, height: int, row_padding: int) -> Layout:
    packed = Layout.of(pixel_format, width, height)
    return Layout.of(pixel_format, width, height, stride=packed.stride + row_padding)


@contextmanager
def _of_what_it_sends() -> Iterator[None]:
    """Say of an image that is none that the camera sent it."""
    try:
        yield
    except RequestError as error:
        raise CameraFailed(f"of what it sends is no image made: {error.what}", remedy=error.remedy) from None
