"""The mapping between an image's pixels and a model's input, both ways."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside_inference.models.preparation import Preparation

Boxes = NDArray[np.float64]
"""N x 4: x0, y0, x1, y1."""


@dataclass(frozen=True)
class Geometry:
    """An image of `width` x `height` pixels that was fitted into an input of `input_width` x `input_height`.

    It takes `fitted_width` x `fitted_height` of it, from `left`, `top`; the rest is padding. Each axis has a scale of
    its own, which also corrects the rounding of a reduced decode.
    """

    input_width: int
    input_height: int
    left: int
    top: int
    fitted_width: int
    fitted_height: int
    width: int
    height: int

    @classmethod
    def of(
        cls, preparation: Preparation, width: int, height: int, original: tuple[int, int] | None = None
    ) -> "Geometry":
        """Return where an image of this size lies in the input; `original` is its size before a reduced decode."""
        fitted_width, fitted_height = preparation.fitted(width, height)
        original_width, original_height = original or (width, height)
        return cls(
            input_width=preparation.width,
            input_height=preparation.height,
            left=(preparation.width - fitted_width) // 2,
            top=(preparation.height - fitted_height) // 2,
            fitted_width=fitted_width,
            fitted_height=fitted_height,
            width=original_width,
            height=original_height,
        )

    @classmethod
    def whole(cls, width: int, height: int) -> "Geometry":
        """Return the geometry of an input that is the image itself."""
        return cls(width, height, 0, 0, width, height, width, height)

    def to_image(self, boxes: Boxes) -> Boxes:
        """Return boxes of the input as boxes of the image, not clipped."""
        return (boxes - self._origin()) * self._scale()

    def to_input(self, boxes: Boxes) -> Boxes:
        """Return boxes of the image as boxes of the input; the inverse of `to_image`."""
        return boxes / self._scale() + self._origin()

    def clip(self, boxes: Boxes) -> Boxes:
        """Return boxes of the image without what lies outside it."""
        return np.clip(boxes, 0.0, (self.width, self.height) * 2)

    def window(self, map_width: int, map_height: int) -> tuple[slice, slice]:
        """Return the rows and columns of a map over the whole input whose centres lie in the image; at least one."""
        return (
            _within(self.top, self.fitted_height, self.input_height, map_height),
            _within(self.left, self.fitted_width, self.input_width, map_width),
        )

    def cell_pixels(self, map_width: int, map_height: int) -> float:
        """Return how many pixels of the image one cell of a map over the whole input stands for."""
        scale = self._scale()
        return float(scale[0] * scale[1]) * (self.input_width / map_width) * (self.input_height / map_height)

    def _origin(self) -> NDArray[np.float64]:
        return np.array((self.left, self.top) * 2, np.float64)

    def _scale(self) -> NDArray[np.float64]:
        return np.array((self.width / self.fitted_width, self.height / self.fitted_height) * 2)


def _within(start: int, length: int, whole: int, cells: int) -> slice:
    first = math.ceil(start * cells / whole - 0.5)
    last = math.ceil((start + length) * cells / whole - 0.5)
    first = min(max(0, first), cells - 1)
    return slice(first, max(first + 1, min(last, cells)))
