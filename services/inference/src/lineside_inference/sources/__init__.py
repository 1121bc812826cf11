"""Where a request's image comes from: a camera by name, a file below a root, an address on a list.

`cameras` are the kinds of camera and what they share; `files` reads below the allowed roots; `urls` fetches from the
hosts of the list, which `url_hosts` judges. What asks over HTTP does so by `http_image`, with `credentials` where the
peer wants them. Each gives a Frame.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lineside_inference.imaging.encode import encode
from lineside_inference.imaging.pixel_formats.layout import Layout

_QUALITY = 85


@dataclass(frozen=True)
class Frame:
    """An image as it came: the bytes of its file, raw pixels and how they lie, or decoded pixels.

    Decoded they are uint8, height x width x 3 (BGR), or height x width where they are gray.
    `clock` is the instant at which it was all here, of time.monotonic(), in seconds. `metadata` is what the camera said
    of it.
    """

    data: bytes = b""
    pixels: NDArray[np.uint8] | None = None
    layout: Layout | None = None
    clock: float = field(default_factory=time.monotonic)
    metadata: Mapping[str, bool | int | float | str] = field(default_factory=dict)

    def age_ms(self) -> float:
        """Return for how many milliseconds it has been here, at least 0."""
        return round(max(0.0, time.monotonic() - self.clock) * 1000, 3)

    def encoded(self) -> bytes:
        """Return it as a file to show: its own bytes, or a JPEG of its pixels (some 10 ms: call it in a thread)."""
        if self.pixels is None:
            return self.data
        return encode(self.pixels, quality=_QUALITY)
