"""Whether the picture that was kept of a part shows that part: each is looked at coarsely, and compared with all.

Every part's surface is another, so that of all parts of a run the one that a picture shows is the nearest by far.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside_bench.reporting.records import Exchange, PictureAccount

MOST = 2000
"""Parts that are remembered, and pictures that are compared, the newest ones."""
_GRID = 32, 24
Glance = NDArray[np.float32]


class Pictures:
    """What each part looks like, as it was put before its camera. Looked at when a run is over, not while it runs."""

    def __init__(self) -> None:
        self._jpegs: OrderedDict[str, bytes] = OrderedDict()

    def remember(self, part_id: str, jpeg: bytes) -> None:
        """Keep what a part looks like."""
        self._jpegs[part_id] = jpeg
        while len(self._jpegs) > MOST:
            self._jpegs.popitem(last=False)

    def account(self, kept: Iterable[tuple[str, Path]]) -> PictureAccount:
        """Compare pictures, each with the id of the part that it was judged as; what is no picture is left out."""
        seen = {jpeg: glance(jpeg) for jpeg in set(self._jpegs.values())}
        shown = {part: look for part, jpeg in self._jpegs.items() if (look := seen[jpeg]) is not None}
        known, compared, wrong = list(shown), 0, []
        if not known:
            return PictureAccount()
        every = np.stack(list(shown.values()))
        for part, path in list(kept)[-MOST:]:
            look = glance(path.read_bytes()) if part in shown else None
            if look is None:
                continue
            compared += 1
            far = ((every - look) ** 2).sum(axis=1)
            if far.min() < far[known.index(part)]:  # several parts may look alike, where few pictures come again
                wrong.append((part, known[int(far.argmin())]))
        return PictureAccount(compared, tuple(wrong))


def kept_of_parts(exchanges: Mapping[str, Exchange], images: Mapping[str, Path]) -> list[tuple[str, Path]]:
    """Return the picture of each part, by the request that it was kept for."""
    return [
        (exchange.request.context.part_id, images[name])
        for name, exchange in exchanges.items()
        if name in images and exchange.request is not None and exchange.request.context.part_id
    ]


def glance(data: bytes) -> Glance | None:
    """Return what is seen of an image file at first sight, as a vector; None where it is none."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if image is None:
        return None
    return np.asarray(cv2.resize(image, _GRID, interpolation=cv2.INTER_AREA), np.float32).ravel()
