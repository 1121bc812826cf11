"""Pictures of parts, rendered in threads when they are asked for, and the next few of the same run before they are."""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lineside_bench.parts.renderer import WORKERS, JpegPart, render_jpeg

AHEAD = 16
"""How many parts after the one asked for are rendered too: twice the stations of a line."""
MAX_WAITING = 32
"""How many may wait for a picture at the same time."""
MAX_KEPT = 96
"""About 5 MB of pictures; more than those that are waited for."""


class TooMany(Exception):
    """As many wait for pictures as may."""


@dataclass
class _Picture:
    made: asyncio.Future[JpegPart]
    waited_for: int = 0


class Pictures:
    """The pictures of runs, by seed and index; close it at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="render")
        self._pictures: OrderedDict[tuple[int, int], _Picture] = OrderedDict()
        self._waiting = 0

    async def get(self, seed: int, index: int) -> JpegPart:
        """Return a part's picture; raises TooMany."""
        if self._waiting >= MAX_WAITING:
            raise TooMany
        picture = self._wanted(seed, index)
        self._waiting += 1
        picture.waited_for += 1
        try:
            for ahead in range(1, AHEAD + 1):
                self._wanted(seed, index + ahead)
            return await asyncio.shield(picture.made)
        finally:
            self._waiting -= 1
            picture.waited_for -= 1

    def close(self) -> None:
        """Render nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wanted(self, seed: int, index: int) -> _Picture:
        """Return a picture that is made or being made, and drop the one not wanted for longest."""
        key = (seed, index)
        if key not in self._pictures:
            made = asyncio.get_running_loop().run_in_executor(self._pool, render_jpeg, seed, index)
            self._pictures[key] = _Picture(made)
            if len(self._pictures) > MAX_KEPT:
                oldest = next(key for key, picture in self._pictures.items() if not picture.waited_for)
                self._pictures.pop(oldest).made.cancel()
        self._pictures.move_to_end(key)
        return self._pictures[key]
