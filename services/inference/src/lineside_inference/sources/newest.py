"""The newest frame and those who wait for a newer one."""

import asyncio

from lineside_inference.sources.frame import Frame


class Newest:
    """Keeps one frame; used from the event loop's thread only."""

    def __init__(self) -> None:
        self.frame: Frame | None = None
        self._changed = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Keep a frame in place of the one before, and wake who waits."""
        self.frame = frame
        self._changed.set()
        self._changed = asyncio.Event()

    async def since(self, clock: float) -> Frame:
        """Return the newest frame that is not older than `clock`; waits for it, as long as the caller lets it."""
        while self.frame is None or self.frame.clock < clock:
            await self._changed.wait()
        return self.frame
