"""Pixels as they come from a camera, by their PFNC format, to the BGR that is judged."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import CameraFailed

MONO8, BAYER_RG8 = 0x01080001, 0x01080009
_NAMES = {MONO8: "Mono8", BAYER_RG8: "BayerRG8"}
_TO_BGR = {MONO8: cv2.COLOR_GRAY2BGR, BAYER_RG8: cv2.COLOR_BayerRGGB2BGR}


def to_bgr(data: NDArray[np.uint8], pixel_format: int, width: int, height: int) -> NDArray[np.uint8]:
    """Return height x width x 3 pixels of their own memory; raises CameraFailed for other formats and too few bytes."""
    if pixel_format not in _TO_BGR:
        raise CameraFailed(
            f"it sends pixel format 0x{pixel_format:08x}",
            remedy=f"Set the feature PixelFormat to one of {', '.join(_NAMES.values())}",
        )
    if width < 2 or height < 2 or data.size < width * height:  # noqa: PLR2004 - a Bayer cell
        raise CameraFailed(f"it sends {data.size} bytes for {width} x {height} pixels of {_NAMES[pixel_format]}")
    pixels = cv2.cvtColor(data[: width * height].reshape(height, width), _TO_BGR[pixel_format])
    return np.asarray(pixels, np.uint8)
