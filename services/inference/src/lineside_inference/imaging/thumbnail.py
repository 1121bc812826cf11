"""A small JPEG of an image, for the page's strip."""

import cv2

from lineside_inference.imaging.decode import view
from lineside_inference.imaging.encode import encode

_QUALITY = 80


def thumbnail(data: bytes, width: int, max_pixels: int) -> bytes:
    """Return a JPEG at most `width` pixels wide; raises ImageTruncated, ImageUndecodable or ImageTooLarge."""
    pixels = view(data, max_pixels=max_pixels, least_width=width)
    if pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # uint8 in, uint8 out
    return encode(pixels, quality=_QUALITY)
