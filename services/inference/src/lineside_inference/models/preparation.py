"""How a card wants its image prepared, worked out once: size, channels, and a gain and an offset for each."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_inference.models.card import CardInput

_INTERPOLATION = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}


@dataclass(frozen=True)
class Preparation:
    """A card's image preparation, worked out once: input value = pixel * gain + offset, a pair each channel.

    `order` says which channel of an OpenCV image (BGR) each channel of the input takes.
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
        """Return the width and height to which an image of this size is resized."""
        if not self.letterbox:
            return self.width, self.height
        factor = min(self.width / width, self.height / height)
        return max(1, min(self.width, round(width * factor))), max(1, min(self.height, round(height * factor)))

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
