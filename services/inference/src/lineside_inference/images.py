"""From the bytes of a JPEG, PNG or BMP to pixels, with the header checked before anything is allocated.

EXIF orientation is ignored: a camera on a line is fixed, and a turned picture would be another one than the model
was trained on.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import ImageTooLarge, ImageUndecodable
from lineside_inference.headers import check_whole, read_header
from lineside_inference.prepare import Preparation

Pixels = NDArray[np.uint8]

_REDUCED = {
    (1, False): cv2.IMREAD_COLOR,
    (2, False): cv2.IMREAD_REDUCED_COLOR_2,
    (4, False): cv2.IMREAD_REDUCED_COLOR_4,
    (8, False): cv2.IMREAD_REDUCED_COLOR_8,
    (1, True): cv2.IMREAD_GRAYSCALE,
    (2, True): cv2.IMREAD_REDUCED_GRAYSCALE_2,
    (4, True): cv2.IMREAD_REDUCED_GRAYSCALE_4,
    (8, True): cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# Work comes from a pool of one thread a core; OpenCV's own threads would only fight for the same cores.
cv2.setNumThreads(1)
# What it would print is raised, as an error of ours.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(data: bytes, preparation: Preparation, *, most_pixels: int) -> Pixels:
    """Return the picture, height x width x 3 (BGR) or height x width for a gray preparation, uint8.

    A JPEG at least twice as large as the preparation needs is decoded at 1/2, 1/4 or 1/8, which costs a fraction;
    the area interpolation takes the rest. Raises ImageTruncated, ImageUndecodable or ImageTooLarge.
    """
    header = read_header(data)
    if header.width * header.height > most_pixels:
        raise ImageTooLarge(
            f"the image is {header.width} x {header.height} pixels",
            remedy=f"At most {most_pixels} pixels are allowed (inference.limits.pixels)",
        )
    check_whole(data, header)
    factor = preparation.reduction(header.width, header.height) if header.format == "jpeg" else 1
    flags = _REDUCED[factor, preparation.is_gray] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageUndecodable(f"the {header.format.upper()} cannot be decoded: {error.err}") from None
    if pixels is None:
        raise ImageUndecodable(f"the {header.format.upper()} cannot be decoded", remedy="Give a JPEG, PNG or BMP")
    return pixels  # type: ignore[return-value]  # imdecode promises any integer type; these flags make it uint8


def accept(pixels: Pixels, preparation: Preparation, *, most_pixels: int) -> Pixels:
    """Return a picture that came decoded (height x width x 3, BGR) as `decode` would; raises ImageTooLarge."""
    height, width = pixels.shape[:2]
    if width * height > most_pixels:
        raise ImageTooLarge(
            f"the image is {width} x {height} pixels",
            remedy=f"At most {most_pixels} pixels are allowed (inference.limits.pixels)",
        )
    if not preparation.is_gray:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]  # uint8 in, uint8 out
