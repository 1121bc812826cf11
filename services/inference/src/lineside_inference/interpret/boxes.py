"""Boxes: their forms, and non-maximum suppression."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Boxes

_FARTHEST = 1e9
"""Coordinates are clipped to this, far beyond any image, so that no product of them overflows."""


def bounded(numbers: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return coordinates clipped to +-1e9, beyond any image."""
    return np.clip(numbers.astype(np.float64), -_FARTHEST, _FARTHEST)


def corners(numbers: NDArray[np.floating], form: Literal["cxcywh", "xyxy", "xywh", "yxyx"]) -> Boxes:
    """Return N x 4 numbers of a form as x0, y0, x1, y1."""
    boxes = bounded(numbers)
    if form == "xyxy":
        return boxes
    if form == "yxyx":
        return boxes[:, [1, 0, 3, 2]]
    near, size = boxes[:, :2], boxes[:, 2:]
    if form == "cxcywh":
        near = near - size / 2
    return np.hstack((near, near + size))


def has_area(boxes: Boxes) -> NDArray[np.bool_]:
    """Say of each box whether its width and height are above 0."""
    filled: NDArray[np.bool_] = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return filled


def suppress(boxes: Boxes, labels: NDArray[np.intp], threshold: float) -> NDArray[np.intp]:
    """Return the indices of the boxes that are kept (non-maximum suppression), of boxes in the order of their rank.

    A box is dropped where a kept one of the same label and of higher rank overlaps it by more than the threshold:
    intersection over union, 0 to 1. All boxes must have an area.
    """
    near = boxes[:, :2] - boxes[:, :2].min(axis=0)  # OpenCV keeps labels apart by an offset that assumes no negatives
    ranks = np.arange(len(boxes), 0, -1, dtype=np.float32)
    sizes = boxes[:, 2:] - boxes[:, :2]
    kept = cv2.dnn.NMSBoxesBatched(
        np.hstack((near, sizes)),  # type: ignore[arg-type]  # the stubs want a list of tuples
        ranks,  # type: ignore[arg-type]  # and of floats
        labels.astype(np.int32),  # type: ignore[arg-type]  # and of ints
        0.0,
        threshold,
    )
    return np.asarray(kept, np.intp)
