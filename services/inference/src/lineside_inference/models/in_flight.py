"""The requests that run on one version of a model: counted, and waited for before the version is unloaded."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class InFlight:
    """A count that can be waited for, and how many there were in all; used from one loop only."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self._idle: asyncio.Event | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request while it runs."""
        self.count += 1
        self.total += 1
        try:
            yield
        finally:
            self.count -= 1
            if self.count == 0 and self._idle is not None:
                self._idle.set()

    async def wait_until_idle(self, within_s: float) -> bool:
        """Wait until none is left, at most so many seconds; return whether none is."""
        if self.count == 0:
            return True
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True
