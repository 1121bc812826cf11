"""Connected regions of a map, as boxes on the original image with their areas."""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret.judgement import DIGITS

_BOX_DIGITS = 2
_SHARE_DIGITS = 6
_NEIGHBOURS = 8


@dataclass(frozen=True)
class MapWindow:
    """The part of a map that shows the image: which rows and columns, and where they lie on the image."""

    geometry: Geometry
    map_width: int
    map_height: int

    @classmethod
    def of(cls, geometry: Geometry | None, map_width: int, map_height: int) -> "MapWindow":
        """Return that of a map over the model's whole input; without a geometry the map is the image."""
        return cls(geometry or Geometry.whole(map_width, map_height), map_width, map_height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and columns of the map that show the image."""
        return self.geometry.window(self.map_width, self.map_height)

    def boxes(self, cells: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return boxes of cells, counted from the window's corner, as boxes on the image, clipped."""
        rows, columns = self.slices
        scale = (self.geometry.input_width / self.map_width, self.geometry.input_height / self.map_height)
        inside = (cells + np.array((columns.start, rows.start) * 2)) * np.array(scale * 2)
        return self.geometry.clip(self.geometry.to_image(inside))


def regions(
    mask: NDArray[np.bool_],
    values: NDArray[np.floating] | None,
    window: MapWindow,
    label: str,
    *,
    min_area: int,
    most: int,
    confidence: Literal["mean", "peak"],
) -> tuple[list[Finding], int]:
    """Return the connected regions (8 neighbours) of a mask over the cells of `window`, and how many were left out.

    The surest come first, and of those alike the largest; at most `most` are returned. The confidence is the mean
    or the peak of `values`, of the mask's shape, in the region; 1 where they are None.
    """
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=_NEIGHBOURS, ltype=cv2.CV_32S
    )
    cells = stats[:, cv2.CC_STAT_AREA].astype(np.float64)
    numbers = np.asarray(numbers)
    sure = np.ones(count) if values is None else _confidences(numbers, values, cells, mask, confidence)
    pixels = cells * window.geometry.cell_pixels(window.map_width, window.map_height)
    kept = 1 + np.flatnonzero(np.round(pixels[1:], _BOX_DIGITS) >= min_area)  # number 0 is what is not in the mask
    kept = kept[np.lexsort((-cells[kept], -sure[kept]))]
    kept, omitted = kept[:most], max(0, kept.size - most)
    left, top = stats[kept, cv2.CC_STAT_LEFT], stats[kept, cv2.CC_STAT_TOP]
    ends = left + stats[kept, cv2.CC_STAT_WIDTH], top + stats[kept, cv2.CC_STAT_HEIGHT]
    boxes = np.round(window.boxes(np.stack((left, top, *ends), axis=1).astype(np.float64)), _BOX_DIGITS)
    whole = window.geometry.width * window.geometry.height
    findings = [
        Finding(
            label=label,
            confidence=round(one, DIGITS),
            box=(box[0], box[1], box[2], box[3]),
            pixels=min(whole, round(size)),
            area=min(1.0, round(size / whole, _SHARE_DIGITS)),
        )
        for one, box, size in zip(sure[kept].tolist(), boxes.tolist(), pixels[kept].tolist(), strict=True)
    ]
    return findings, omitted


def _confidences(
    numbers: NDArray[Any],
    values: NDArray[np.floating],
    cells: NDArray[np.float64],
    mask: NDArray[np.bool_],
    kind: Literal["mean", "peak"],
) -> NDArray[np.float64]:
    """Return the mean or the peak of the values in each numbered region; number 0 has none."""
    region, value = numbers[mask], values[mask].astype(np.float64)
    if kind == "mean":
        sums: NDArray[np.float64] = np.bincount(region, value, minlength=len(cells)) / np.maximum(cells, 1)
        return sums
    peaks = np.full(len(cells), -np.inf)
    np.maximum.at(peaks, region, value)
    return peaks
