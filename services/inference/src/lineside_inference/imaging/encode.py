"""From pixels to the bytes of an image file: for evidence, the page, the overlay and made-up parts."""

from typing import Any

import cv2
from numpy.typing import NDArray

from lineside_inference.errors import ImageUndecodable


def encode(pixels: NDArray[Any], suffix: str = "jpg", *, quality: int = 92) -> bytes:
    """Return pixels (gray, BGR or BGR with alpha) as a file: `jpg` of a quality 0 to 100, `png` or `bmp`.

    It takes some 10 ms for a megapixel: call it in a thread. Raises ImageUndecodable where they cannot be written so.
    """
    options = (cv2.IMWRITE_JPEG_QUALITY, quality) if suffix == "jpg" else ()
    try:
        is_done, data = cv2.imencode(f".{suffix}", pixels, options)
    except cv2.error as error:
        raise ImageUndecodable(f"the image cannot be written as {suffix}: {error.err}") from None
    if not is_done:
        raise ImageUndecodable(f"the image cannot be written as {suffix}")
    return data.tobytes()
