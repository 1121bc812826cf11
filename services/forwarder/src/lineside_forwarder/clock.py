"""Time as the forwarder needs it, so that a test can put another in its place; and blocking calls in threads."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from datetime import datetime
from functools import partial
from typing import TypeVar

from lineside.contract import utc_now

T = TypeVar("T")


class Clock:
    """The machine's time. Everything but quiet hours goes by `monotonic`, which no change of the clock moves."""

    def monotonic(self) -> float:
        """Return seconds that only go up."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return utc_now()

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the seconds are over."""
        if event.is_set():
            return
        ends = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.sleep(seconds))]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)


async def in_thread(call: Callable[..., T], *arguments: object, pool: Executor | None = None) -> T:
    """Run a blocking call in a thread and wait for its end, also when cancelled: nothing it uses is closed before.

    `pool` is for calls that may hang, so that they take no thread from others.
    """
    running = asyncio.get_running_loop().run_in_executor(pool, partial(call, *arguments))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # it was asked for: nobody else will
        raise
