"""Parts rendered in advance, so that rendering delays no part and falsifies no latency."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from lineside_bench.parts.labels import Truth, part_id
from lineside_bench.parts.part import encode_jpeg, make_part

WORKERS = 3
MAX_AHEAD = 512
"""About 25 MB of JPEGs."""


@dataclass(frozen=True)
class JpegPart(Truth):
    """A part as the camera shows it, with its truth."""

    jpeg: bytes


def render_jpeg(seed: int, index: int) -> JpegPart:
    """Render one part of a run."""
    part = make_part(seed, index)
    return JpegPart(part.index, part.part_id, part.label, encode_jpeg(part.image))


class Renderer:
    """Renders the parts of a run in order, in threads, up to `ahead` in advance; `count` None is without end.

    With `pictures` so many are rendered and then come again, as other parts: from then on they cost next to nothing.
    """

    def __init__(self, *, seed: int, count: int | None, ahead: int = MAX_AHEAD, pictures: int | None = None) -> None:
        self._seed = seed
        self._count = count
        self._pictures = pictures
        self._again: dict[int, JpegPart] = {}
        self._queue: asyncio.Queue[JpegPart] = asyncio.Queue(max(1, min(ahead, MAX_AHEAD)))
        self._full = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def full(self) -> None:
        """Return when as much is rendered as can be held."""
        await self._full.wait()

    async def next(self) -> JpegPart:
        """Return the next part."""
        getting = asyncio.ensure_future(self._queue.get())
        assert self._working is not None, "enter the renderer first"  # noqa: S101 - a mistake in our own code
        await asyncio.wait({getting, self._working}, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done() and self._working.done():
            getting.cancel()
            await self._working
        return await getting

    async def __aenter__(self) -> Self:
        self._working = asyncio.create_task(self._work(), name="renderer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._working:
            self._working.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self._working

    async def _work(self) -> None:
        index = 0
        try:
            while self._count is None or index < self._count:
                many = WORKERS if self._count is None else min(WORKERS, self._count - index)
                if self._pictures is not None and index < self._pictures:
                    many = min(many, self._pictures - index)
                for part in await asyncio.gather(*(self._part(index + offset) for offset in range(many))):
                    if self._queue.full():
                        self._full.set()
                    await self._queue.put(part)
                index += many
        finally:
            self._full.set()

    async def _part(self, index: int) -> JpegPart:
        if self._pictures is not None and index >= self._pictures:
            return replace(self._again[index % self._pictures], index=index, part_id=part_id(index))
        part = await asyncio.to_thread(render_jpeg, self._seed, index)
        if self._pictures is not None:
            self._again[index] = part
        return part
