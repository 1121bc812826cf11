"""Ctrl-C and SIGTERM as an event of the loop: what runs is cancelled in order, and the report still comes."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any


class Interrupts:
    """The first SIGINT or SIGTERM; later ones change nothing, because every stop is bounded anyway."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.number = 0
        """The signal that came, 0 without one."""
        self._say = say
        self._came = asyncio.Event()

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals within this context."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._take, number)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def until(self, work: Awaitable[Any]) -> bool:
        """Do the work; return whether it ended by itself, false where a signal cancelled it."""
        working = asyncio.ensure_future(work)
        coming = asyncio.create_task(self._came.wait())
        try:
            await asyncio.wait({working, coming}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
            if not working.done():
                working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return not working.cancelled()

    def _take(self, number: int) -> None:
        if not self.number:
            self.number = number
            self._came.set()
            self._say("Stopping ...")
