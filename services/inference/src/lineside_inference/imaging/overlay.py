"""The image with the findings and the verdict drawn on it, as a JPEG."""

from collections.abc import Collection

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding, Result
from lineside_inference.imaging.encode import encode

_DEFECT = (40, 40, 230)
_OTHER = (60, 180, 60)
_UNKNOWN = (0, 170, 255)
_WHITE = (255, 255, 255)
_LONGEST = 90
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw(pixels: NDArray[np.uint8], result: Result, defects: Collection[str]) -> bytes:
    """Return a JPEG of an image (height x width x 3, BGR; it is drawn on) with boxes and the verdict drawn on it."""
    unit = max(1, round(min(pixels.shape[:2]) / 240))
    for finding in reversed(result.findings):  # the surest is drawn last, above the others
        if finding.box is not None:
            _box(pixels, finding, _DEFECT if finding.label in defects else _OTHER, unit)
    colour = {"fail": _DEFECT, "pass": _OTHER, "unknown": _UNKNOWN}[result.verdict]
    _write(pixels, f"{result.verdict}: {result.reason}", (0, 0), colour, unit)
    return encode(pixels)


def _box(pixels: NDArray[np.uint8], finding: Finding, colour: tuple[int, int, int], unit: int) -> None:
    x0, y0, x1, y1 = (round(value) for value in finding.box or ())
    cv2.rectangle(pixels, (x0, y0), (x1, y1), colour, unit)
    _write(pixels, f"{finding.label} {finding.confidence:.2f}", (x0, y1), colour, unit)


def _write(
    pixels: NDArray[np.uint8], text: str, corner: tuple[int, int], colour: tuple[int, int, int], unit: int
) -> None:
    """Write one line on a bar whose upper left corner is given, moved inside the image where it would leave it."""
    text = text[:_LONGEST].encode("ascii", "replace").decode()  # the font has no more
    scale = 0.4 * unit
    (width, height), below = cv2.getTextSize(text, _FONT, scale, unit)
    high = height + below + 2 * unit
    left = max(0, min(corner[0], pixels.shape[1] - width - 2 * unit))
    top = max(0, min(corner[1], pixels.shape[0] - high))
    cv2.rectangle(pixels, (left, top), (left + width + 2 * unit, top + high), colour, cv2.FILLED)
    cv2.putText(pixels, text, (left + unit, top + height + unit), _FONT, scale, _WHITE, unit, cv2.LINE_AA)
