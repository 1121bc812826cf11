"""The threads beside the event loop: the line's, and everybody else's, which get what the line leaves of the cores."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

_LEAST = 19
_NICENESS = 10
"""Of the others' threads (Linux gives each thread its own): about a tenth of a processor that the line wants too."""
T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Workers:
    """`line` decodes and prepares for the line, `others` for whoever else asks; `reading` reads large JSON.

    Reading JSON holds the interpreter, in whatever thread: one at a time, so that the loop has its turn between them.
    """

    def __init__(self, threads: int) -> None:
        self.line = ThreadPoolExecutor(threads, thread_name_prefix="prepare")
        self.others = ThreadPoolExecutor(threads, thread_name_prefix="others", initializer=_step_back)
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="reading", initializer=_step_back)

    def of(self, *, line: bool) -> Executor:
        """Return the threads for a request."""
        return self.line if line else self.others

    async def read(self, size: int, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Return what `work` makes of so many bytes: small ones at once, large ones in a thread, one at a time."""
        if size <= SMALL:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._reading, work, *arguments)

    async def aside(self, size: int, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        """Return what `work` makes, which leaves the interpreter to others: of few bytes at once, else in a thread."""
        if size <= SMALL:
            return work(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self.others, work, *arguments)

    def close(self) -> None:
        """Let go of what has not begun."""
        for threads in (self.line, self.others, self._reading):
            threads.shutdown(wait=False, cancel_futures=True)


SMALL = 32 * 1024
"""Bytes of a message that is read where it is: less than a millisecond."""


def _step_back() -> None:
    thread = threading.get_native_id()
    own = os.getpriority(os.PRIO_PROCESS, thread)
    os.setpriority(os.PRIO_PROCESS, thread, min(_LEAST, own + _NICENESS))
