"""Smaller copies of the kept images, made when somebody asks for one."""

import asyncio
from concurrent.futures import Executor

from lineside_inference.dataplane.admission import Capacity
from lineside_inference.imaging.decode import decoding_bytes
from lineside_inference.imaging.thumbnail import thumbnail
from lineside_inference.live.live_feed import KeptImage

_MAX_KEPT = 2  # a page asks for one width; what else is asked for is made and not kept


class Thumbnails:
    """Makes one at a time, in a worker thread, within the memory of all images that are decoded."""

    def __init__(self, workers: Executor, memory: Capacity, *, max_pixels: int) -> None:
        self._workers = workers
        self._memory = memory
        self._max_pixels = max_pixels
        self._one_at_a_time = asyncio.Semaphore(1)

    async def of(self, image: KeptImage, width: int) -> bytes:
        """Return a JPEG of an image, at most `width` pixels wide; raises RequestError where it cannot be decoded."""
        async with self._one_at_a_time:
            kept = image.thumbnails.get(width)
            if kept is not None:
                return kept
            needed = decoding_bytes(image.data, max_pixels=self._max_pixels)
            await self._memory.wait(needed, line=False)
            making = asyncio.get_running_loop().run_in_executor(
                self._workers, thumbnail, image.data, width, self._max_pixels
            )
            making.add_done_callback(lambda _: self._memory.give(needed, line=False))
            made = await asyncio.shield(making)
            if len(image.thumbnails) < _MAX_KEPT:
                image.thumbnails[width] = made
            return made
