"""How much may be under way at once: a number of files, and their bytes on this disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class InflightLimit:
    """At most `max_files` files of together `max_bytes` at once; a file that is larger than that goes alone."""

    def __init__(self, max_files: int, max_bytes: int) -> None:
        self._max_files = max_files
        self._max_bytes = max_bytes
        self.files = 0
        self.bytes = 0
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncIterator[None]:
        """Count a file of `size` bytes for a `with`, once it fits; callers are served in order, a large one too."""
        async with self._turn:
            while self.files and (self.files >= self._max_files or self.bytes + size > self._max_bytes):
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
