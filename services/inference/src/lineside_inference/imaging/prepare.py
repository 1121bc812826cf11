"""From pixels to the model's input, by its card, written straight into the memory that the engine reads."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.geometry import Geometry
from lineside_inference.models.card import CardInput

LETTERBOX_VALUE = 114
"""The grey beside a letterboxed picture, the value that YOLO models are trained with."""

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


@dataclass(frozen=True)
class Preparation:
    """A card's image preparation, worked out once: input value = pixel * gain + offset, a pair each channel.

    `order` says which channel of an OpenCV picture (BGR) each channel of the input takes.
    """

    width: int
    height: int
    letterbox: bool
    interpolation: int
    is_gray: bool
    is_planar: bool
    order: tuple[int, ...]
    gain: NDArray[np.float32]
    offset: NDArray[np.float32]
    significant_bits: int | None = None

    @classmethod
    def of(cls, card: CardInput) -> "Preparation":
        """Work out the preparation of an input of kind image."""
        image = card.image
        if image is None:
            raise ValueError(f"input {card.name!r} is of kind {card.kind}, not image")
        std = np.array(image.std or (1.0,) * image.channels)
        mean = np.array(image.mean or (0.0,) * image.channels)
        return cls(
            width=image.width,
            height=image.height,
            letterbox=image.fit == "letterbox",
            interpolation=_INTERPOLATION[image.interpolation],
            is_gray=image.colour == "gray",
            is_planar=image.layout == "chw",
            order={"rgb": (2, 1, 0), "bgr": (0, 1, 2), "gray": (0,)}[image.colour],
            gain=(image.scale / std).astype(np.float32),
            offset=(-mean / std).astype(np.float32),
            significant_bits=image.significant_bits,
        )

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height to which a picture of this size is resized."""
        if not self.letterbox:
            return self.width, self.height
        factor = min(self.width / width, self.height / height)
        return max(1, min(self.width, round(width * factor))), max(1, min(self.height, round(height * factor)))

    def geometry(self, width: int, height: int, original: tuple[int, int] | None = None) -> Geometry:
        """Return where a picture of this size lies in the input; `original` is its size before a reduced decode."""
        fitted_width, fitted_height = self.fitted(width, height)
        original_width, original_height = original or (width, height)
        return Geometry(
            input_width=self.width,
            input_height=self.height,
            left=(self.width - fitted_width) // 2,
            top=(self.height - fitted_height) // 2,
            fitted_width=fitted_width,
            fitted_height=fitted_height,
            width=original_width,
            height=original_height,
        )

    def reduction(self, width: int, height: int) -> int:
        """Return by how much a JPEG of this size may be decoded smaller: 1, 2, 4 or 8.

        Never below the size that is needed, and only before area interpolation, which averages anyway.
        """
        if self.interpolation != cv2.INTER_AREA:
            return 1
        wanted_width, wanted_height = self.fitted(width, height)
        for factor in (8, 4, 2):
            if width >= wanted_width * factor and height >= wanted_height * factor:
                return factor
        return 1


def prepare(
    pixels: NDArray[np.uint8],
    preparation: Preparation,
    out: NDArray[np.floating] | NDArray[np.uint8],
    *,
    original: tuple[int, int] | None = None,
) -> Geometry:
    """Write the model's input for a picture into `out`, without a copy of it between; return where the picture lies.

    `pixels` is height x width x 3 (BGR) or height x width (gray), `out` has the card's shape and datatype. `original`
    is the picture's width and height before a reduced decode, for the way back to its pixels.
    """
    geometry = preparation.geometry(pixels.shape[1], pixels.shape[0], original)
    fitted = _fit(pixels, preparation, geometry)
    if fitted.ndim == 2:  # noqa: PLR2004 - height x width
        fitted = fitted[:, :, np.newaxis]
    for channel, taken in enumerate(preparation.order):
        plane = out[channel] if preparation.is_planar else out[:, :, channel]
        if out.dtype == np.uint8:  # the card sees to it that there is nothing to work out
            plane[...] = fitted[:, :, taken]
            continue
        np.multiply(fitted[:, :, taken], preparation.gain[channel], out=plane, casting="unsafe")
        np.add(plane, preparation.offset[channel], out=plane, casting="unsafe")
    return geometry


def _fit(pixels: NDArray[np.uint8], preparation: Preparation, geometry: Geometry) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    size = (geometry.fitted_width, geometry.fitted_height)
    if size != (width, height):
        pixels = cv2.resize(pixels, size, interpolation=preparation.interpolation)  # type: ignore[assignment]  # uint8 in, uint8 out
    if size == (preparation.width, preparation.height):
        return pixels
    canvas = np.full((preparation.height, preparation.width, *pixels.shape[2:]), LETTERBOX_VALUE, np.uint8)
    canvas[geometry.top : geometry.top + size[1], geometry.left : geometry.left + size[0]] = pixels
    return canvas
