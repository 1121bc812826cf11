"""Boxes: their forms, how much two overlap, and which of those that overlap stays."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Boxes

_FARTHEST = 1e9
"""Coordinates are cut here, far beyond any picture, so that nothing overflows."""


def bounded(numbers: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return coordinates cut where no picture reaches."""
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
    """Say of each box whether there is anything in it."""
    filled: NDArray[np.bool_] = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return filled


def overlaps(boxes: Boxes) -> NDArray[np.float64]:
    """Return N x N: the intersection of each two boxes over their union. All must have an area."""
    width = np.minimum(boxes[:, None, 2], boxes[None, :, 2]) - np.maximum(boxes[:, None, 0], boxes[None, :, 0])
    height = np.minimum(boxes[:, None, 3], boxes[None, :, 3]) - np.maximum(boxes[:, None, 1], boxes[None, :, 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shares: NDArray[np.float64] = shared / (areas[:, None] + areas[None, :] - shared)
    return shares


def suppress(shares: NDArray[np.float64], labels: NDArray[np.intp], threshold: float) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, of boxes in the order of their rank (non-maximum suppression).

    `shares` is by how much each two overlap. A box goes where one of the same label and of higher rank, that stays,
    overlaps it by more than the threshold.
    """
    rivals = (shares > threshold) & (labels[:, None] == labels[None, :])
    stays = np.ones(len(shares), np.bool_)
    for index in range(len(shares)):
        if stays[index]:
            stays[index + 1 :] &= ~rivals[index, index + 1 :]
    return np.flatnonzero(stays)
