"""JPEGs of parts, rendered in threads: the part that is asked for, and the next few of the same run in advance."""

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lineside_bench.parts.renderer import WORKERS, JpegPart, render_jpeg

AHEAD = 16
"""How many parts after the one asked for are rendered too: twice the stations of a line."""
MAX_WAITING = 32
"""How many callers may wait for a JPEG at the same time."""
MAX_KEPT = 96
"""About 5 MB; more than those that can be waited for."""


class TooManyWaiting(Exception):
    """MAX_WAITING callers wait already."""


@dataclass
class _Entry:
    made: asyncio.Future[JpegPart]
    waited_for: int = 0


class JpegCache:
    """JPEGs by seed and index, the least recently wanted out; close it at the end."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="render")
        self._entries: OrderedDict[tuple[int, int], _Entry] = OrderedDict()
        self._waiting = 0

    async def get(self, seed: int, index: int) -> JpegPart:
        """Return a part's JPEG; raises TooManyWaiting."""
        if self._waiting >= MAX_WAITING:
            raise TooManyWaiting
        entry = self._wanted(seed, index)
        self._waiting += 1
        entry.waited_for += 1
        try:
            for ahead in range(1, AHEAD + 1):
                self._wanted(seed, index + ahead)
            return await asyncio.shield(entry.made)
        finally:
            self._waiting -= 1
            entry.waited_for -= 1

    def close(self) -> None:
        """Render nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _wanted(self, seed: int, index: int) -> _Entry:
        """Return an entry whose JPEG is rendered or being rendered, and drop the one not wanted for longest."""
        key = (seed, index)
        if key not in self._entries:
            made = asyncio.get_running_loop().run_in_executor(self._pool, render_jpeg, seed, index)
            self._entries[key] = _Entry(made)
            if len(self._entries) > MAX_KEPT:
                oldest = next(key for key, entry in self._entries.items() if not entry.waited_for)
                self._entries.pop(oldest).made.cancel()
        self._entries.move_to_end(key)
        return self._entries[key]
