"""A request's body that a thread sends: within the bandwidth cap, and no further once nobody waits for it."""

import asyncio
import io
import threading
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from lineside import threads
from lineside_forwarder.rate_limiter import RateLimiter

PIECE = 64 * 1024
"""Bytes that are asked of the bandwidth cap at once."""


class Abandoned(Exception):
    """Nobody waits for this transfer any more."""


class Meter:
    """What a sending thread shares with the event loop: the bandwidth cap, and whether anybody still waits."""

    def __init__(self, limiter: RateLimiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let the thread end at its next piece."""
        self._stopped.set()

    def check(self) -> None:
        """Raise Abandoned where nobody waits any more."""
        if self._stopped.is_set():
            raise Abandoned

    def spend(self, amount: int) -> None:
        """Wait in the thread until `amount` bytes may be sent; raises Abandoned."""
        self.check()
        try:
            asyncio.run_coroutine_threadsafe(self._spend(amount), self._loop).result()
        except RuntimeError:  # the loop is closed
            raise Abandoned from None
        self.check()

    async def _spend(self, amount: int) -> None:
        await self._limiter.spend(amount)


class Body:
    """A window of a file as a request's body.

    It is read to be signed, which costs no bandwidth, and then to be sent, which does. It holds no bytes itself.
    """

    def __init__(self, file: BinaryIO, start: int, size: int, meter: Meter) -> None:
        self._file = file
        self._start = start
        self._size = size
        self._meter = meter
        self._position = 0
        self._is_sent = False
        self._granted = 0

    def __len__(self) -> int:
        return self._size

    def begin_sending(self) -> None:
        """Count what is read from here on as sent."""
        self._is_sent = True

    def tell(self) -> int:
        """Return the position in the window."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position in the window, to read from there again."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = min(max(origin + offset, 0), self._size)
        self._is_sent = False
        return self._position

    def read(self, amount: int | None = -1) -> bytes:
        """Return the next bytes; raises OSError where the file ends before the window, Abandoned."""
        left = self._size - self._position
        wanted = left if amount is None or amount < 0 else min(amount, left)
        if wanted == 0:
            return b""
        if self._is_sent:
            self._ask_for(wanted)
        self._file.seek(self._start + self._position)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise OSError(f"the file ends {wanted - len(data)} bytes before it should")
        self._position += wanted
        return data

    def _ask_for(self, wanted: int) -> None:
        """Ask for bandwidth in pieces that are larger than a read: each costs a turn of the event loop."""
        while self._granted < wanted:
            piece = min(PIECE, self._size - self._position - self._granted)
            self._meter.spend(piece)
            self._granted += piece
        self._granted -= wanted


async def run_metered(work: Callable[[Meter], None], limiter: RateLimiter, name: str) -> None:
    """Run blocking work in a thread of its own; a cancellation does not wait for it, nor does the process's end.

    A pool's threads would be waited for at the exit, for as long as a dead link needs to time out.
    """
    meter = Meter(limiter, asyncio.get_running_loop())
    try:
        await threads.run_abandonable(partial(work, meter), name)
    except asyncio.CancelledError:
        meter.stop()
        raise
