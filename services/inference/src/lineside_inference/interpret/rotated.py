"""Rotated boxes: their corners, and non-maximum suppression by probabilistic intersection over union."""

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-7


def rotated_corners(boxes: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return N x 4 x 2 corners of boxes (N x 4: centre, width, height), rotated by angles in radians.

    A positive angle turns the x axis towards the y axis, which is clockwise on an image.
    """
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    cos, sin = np.cos(angles), np.sin(angles)
    along = np.stack((half[:, 0] * cos, half[:, 0] * sin), axis=1)
    across = np.stack((-half[:, 1] * sin, half[:, 1] * cos), axis=1)
    return np.stack(
        (middle - along - across, middle + along - across, middle + along + across, middle - along + across), 1
    )


def probabilistic_iou(boxes: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return N x N: 1 for two rotated boxes that are equal, towards 0 the farther they are apart.

    One less the Hellinger distance of the normal distributions that the boxes stand for (Llerena and others, "Gaussian
    Bounding Boxes and Probabilistic Intersection-over-Union for Object Detection", arXiv:2106.06072), by which the
    trainers of such models filter them too.
    """
    x, y = boxes[:, 0], boxes[:, 1]
    wide, high = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cos, sin = np.cos(angles), np.sin(angles)
    a, b, c = wide * cos**2 + high * sin**2, wide * sin**2 + high * cos**2, (wide - high) * cos * sin

    def each(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return values[:, None] + values[None, :]

    dx, dy = x[:, None] - x[None, :], y[:, None] - y[None, :]
    area = each(a) * each(b) - each(c) ** 2
    near = (each(a) * dy**2 + each(b) * dx**2) / (area + _TINY) / 4 + each(c) * -dx * dy / (area + _TINY) / 2
    own = np.sqrt(np.maximum(a * b - c**2, 0))
    form = np.log(np.maximum(area, 0) / (4 * own[:, None] * own[None, :] + _TINY) + _TINY) / 2
    distance = np.clip(near + form, _TINY, 100)
    iou: NDArray[np.float64] = 1 - np.sqrt(1 - np.exp(-distance) + _TINY)
    return iou


def suppress_rotated(
    boxes: NDArray[np.float64], angles: NDArray[np.float64], labels: NDArray[np.intp], threshold: float
) -> NDArray[np.intp]:
    """Return the indices of the rotated boxes that are kept, of boxes in the order of their rank.

    A box is dropped where its probabilistic IoU with a kept one of the same label and of higher rank is above the
    threshold, 0 to 1.
    """
    rivals = (probabilistic_iou(boxes, angles) > threshold) & (labels[:, None] == labels[None, :])
    is_kept = np.ones(len(boxes), np.bool_)
    for index in range(len(boxes)):
        if is_kept[index]:
            is_kept[index + 1 :] &= ~rivals[index, index + 1 :]
    return np.flatnonzero(is_kept)
