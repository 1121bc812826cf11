"""A small JPEG of an image, for the page's strip."""

import cv2
import numpy as np

from lineside_inference.errors import ImageTooLarge, ImageUndecodable
from lineside_inference.headers import read_header

_QUALITY = 80
_REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4, 2: cv2.IMREAD_REDUCED_COLOR_2}


def thumbnail(data: bytes, width: int, most_pixels: int) -> bytes:
    """Return a JPEG at most `width` pixels wide; raises ImageTruncated, ImageUndecodable or ImageTooLarge.

    A JPEG is decoded at the smallest scale that is still as wide as wanted, which costs a fraction.
    """
    header = read_header(data)
    if header.width * header.height > most_pixels:
        raise ImageTooLarge(f"the image is {header.width} x {header.height} pixels")
    factor = next((step for step in _REDUCED if header.format == "jpeg" and header.width >= width * step), 1)
    flags = _REDUCED.get(factor, cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageUndecodable(f"the {header.format.upper()} cannot be decoded: {error.err}") from None
    if pixels is None:
        raise ImageUndecodable(f"the {header.format.upper()} cannot be decoded")
    if pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1])
