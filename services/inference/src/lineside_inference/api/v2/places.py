"""Room for v2 requests, beside that for /v1: whatever v2 clients do, the line finds its own places free."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lineside_inference.deadline import Deadline
from lineside_inference.errors import Expired, Refused, Stopping


class Places:
    """So many requests are worked on at once, so many more wait; one more is refused."""

    def __init__(self, most: int, queue: int, *, is_draining: Callable[[], bool]) -> None:
        self._most = most
        self._queue = queue
        self._is_draining = is_draining
        self._inside = 0
        self._free = asyncio.Semaphore(most)

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Count a request from its first byte until its answer is sent; raises Refused or Stopping."""
        if self._is_draining():
            raise Stopping("the inference service is stopping", remedy="Ask again in a moment")
        if self._inside >= self._most + self._queue:
            raise Refused(
                f"{self._inside} v2 requests are being worked on or wait",
                remedy="Ask again in a moment; the bounds are inference.limits.v2_concurrency and queue",
                retry_after_s=max(1, math.ceil(self._inside / self._most / 10)),
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @asynccontextmanager
    async def work(self, deadline: Deadline) -> AsyncIterator[None]:
        """Hold one of the places for work, before the body is read; raises Expired where none comes free in time."""
        if self._free.locked():
            try:
                async with asyncio.timeout(deadline.left()):
                    await self._free.acquire()
            except TimeoutError:
                raise Expired("the deadline passed before a place came free", remedy="Ask less often") from None
        else:
            await self._free.acquire()
        try:
            yield
        finally:
            self._free.release()

    def load(self) -> dict[str, int]:
        """Return how many requests are worked on and how many wait."""
        working = min(self._inside, self._most)
        return {"working": working, "waiting": self._inside - working}
