"""The simulated line's parts: a rendered image of machined metal, and the label that is true about it.

See :mod:`lineside_bench.parts.labels` for a part's label and id, and for who uses which seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from lineside_bench.parts import defects
from lineside_bench.parts.labels import LABELS, drawn_label, part_id, streams
from lineside_bench.parts.surfaces import Surface, add_sensor_noise, make_surface

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RenderedPart", "encode_jpeg", "make_part"]

SMALLEST = 64
"""Least width and height of an image, in pixels."""


@dataclass(frozen=True)
class RenderedPart:
    """One part and what is true about it.

    Attributes:
        index: its number in the run, from 0.
        part_id: ``P-`` and the index, at least six digits.
        label: one of :data:`LABELS`.
        image: HxWx3 uint8, RGB.
    """

    index: int
    part_id: str
    label: str
    image: NDArray[np.uint8]


def make_part(seed: int, index: int, *, label: str | None = None, size: tuple[int, int] = (640, 480)) -> RenderedPart:
    """Render part ``index`` of the run ``seed``.

    The surface, its lighting and its noise do not depend on the label: asking for the same part as ``good`` gives the
    same image without the defect.

    Args:
        seed: 0 or more; :mod:`lineside_bench.parts.labels` says who uses which.
        index: 0 or more.
        label: one of :data:`LABELS`, or None for the run's own (half are good, the rest spread over the defects).
        size: width and height in pixels, each 64 or more.

    Raises:
        ValueError: an argument is outside its range.
    """
    if label is not None and label not in LABELS:
        message = f"part label {label!r} is unknown: use one of {', '.join(LABELS)}"
        raise ValueError(message)
    if min(size) < SMALLEST:
        message = f"part size {size[0]}x{size[1]} is too small: width and height must be {SMALLEST} pixels or more"
        raise ValueError(message)
    of_label, of_surface, of_defect = streams(seed, index)
    if label is None:
        label = drawn_label(of_label)
    surface = make_surface(of_surface, size)
    stain = _add_defect(of_defect, surface, label)
    luma = np.asarray(cv2.GaussianBlur(surface.luma, (0, 0), max(surface.blur, 0.3)), np.float32)
    add_sensor_noise(of_surface, luma, surface.noise)
    return RenderedPart(index=index, part_id=part_id(index), label=label, image=_colour(luma, surface, stain))


def _add_defect(
    rng: np.random.Generator, surface: Surface, label: str
) -> tuple[NDArray[np.float32], tuple[float, float, float]] | None:
    if label == "scratch":
        defects.add_scratch(rng, surface)
    elif label == "pit":
        defects.add_pit(rng, surface)
    elif label == "dent":
        defects.add_dent(rng, surface)
    elif label == "stain":
        return defects.add_stain(rng, surface)
    return None


def _colour(
    luma: NDArray[np.float32], surface: Surface, stain: tuple[NDArray[np.float32], tuple[float, float, float]] | None
) -> NDArray[np.uint8]:
    """Return the image, HxWx3 uint8 RGB, saturating at 0 and 255."""
    planes = []
    for channel, gain in enumerate(surface.tint):
        plane = luma
        if stain is not None:
            cover, taken = stain
            plane = luma * (1 - cover * np.float32(taken[channel]))
        planes.append(cv2.multiply(plane, gain, dtype=cv2.CV_8U))  # type: ignore[call-overload] # scalars are allowed
    return np.asarray(cv2.merge(planes), np.uint8)


def encode_jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Return ``image`` (HxWx3 uint8, RGB) as a JPEG file of ``quality`` 1 to 100.

    Raises:
        ValueError: OpenCV could not encode the array.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        message = f"could not encode an image of shape {image.shape} and type {image.dtype} as JPEG"
        raise ValueError(message)
    return data.tobytes()
