"""How much may be under way at once: a number of files, and their bytes on this disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InflightLimit:
    """Room for `most` files of together `max_bytes`; a file that is larger than that goes alone."""

    def __init__(self, most: int, max_bytes: int) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self.files = 0
        self.bytes = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Have room for a file, once all who came earlier have: a large one is not passed for ever."""
        async with self._turn:
            while self.files and (self.files >= self._most or self.bytes + size > self._max_bytes):
                self._freed.clear()
                await self._freed.wait()
            self.files += 1
            self.bytes += size
        try:
            yield
        finally:
            self.files -= 1
            self.bytes -= size
            self._freed.set()
