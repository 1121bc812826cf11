"""Masks from prototypes, as YOLO -seg gives them: how many pixels of the image one covers within its box."""

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Boxes, Geometry
from lineside_inference.interpret.outputs import Floats


def mask_pixels(
    prototypes: Floats, coefficients: NDArray[np.floating], boxes: Boxes, geometry: Geometry
) -> list[float]:
    """Return for each box of the image how many of its pixels the mask covers.

    `prototypes` is K x height x width over the whole input, `coefficients` N x K. A pixel is of the mask where the sum
    of the prototypes, weighed by the coefficients and interpolated between their cells, is above 0: probability 0.5.
    """
    inside = geometry.to_input(boxes)
    return [_covered(prototypes, weights, box, geometry) for weights, box in zip(coefficients, inside, strict=True)]


def _covered(prototypes: Floats, weights: NDArray[np.floating], box: NDArray[np.float64], geometry: Geometry) -> float:
    height, width = prototypes.shape[1:]
    columns, rows = _middles(box[0], box[2], geometry.input_width), _middles(box[1], box[3], geometry.input_height)
    if not columns.size or not rows.size:
        return 0.0
    x = np.clip((columns * width / geometry.input_width - 0.5).astype(np.float32), 0, width - 1)
    y = np.clip((rows * height / geometry.input_height - 0.5).astype(np.float32), 0, height - 1)
    left, top = int(x[0]), int(y[0])
    part = prototypes[:, top : int(y[-1]) + 2, left : int(x[-1]) + 2]
    sums = np.tensordot(weights.astype(np.float32), part.astype(np.float32), axes=1)
    at = np.meshgrid(x - left, y - top)
    values = cv2.remap(sums, at[0], at[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return float((np.asarray(values) > 0).sum()) * geometry.cell_pixels(geometry.input_width, geometry.input_height)


def _middles(start: float, end: float, size: int) -> NDArray[np.float64]:
    """Return the middles of the input's pixels that lie from start to end."""
    first, last = max(0, int(np.ceil(start - 0.5))), min(size - 1, int(np.floor(end - 0.5)))
    return np.arange(first, last + 1, dtype=np.float64) + 0.5
