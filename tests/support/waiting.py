"""How a test waits: for a condition, never for a time, and with a patience that a busy machine stretches.

What does not come must fail the test at last, but no figure tells that from a machine that has much else to do. So
patience is counted in seconds of a quiet machine: while more wants to run than there are cores, it is used up as much
more slowly.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

Value = TypeVar("Value")

ASKING_SHARE = 0.2
"""Of the time, at most, is spent on asking, but no pause is over 1 s: who asks all the time slows what it waits for."""
PATIENCE_S = 60.0
"""For how long a test waits for one thing, in seconds of a quiet machine."""
HANG_S = 300.0
"""A library's own time-out in a test: only what hangs takes so long, on any machine."""


def slowness() -> float:
    """Return how much longer work takes now than on a quiet machine: what wants to run, a core; 1 at least.

    The system's figure is the mean of about the last minute.
    """
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


class Patience:
    """So many seconds of a quiet machine; `is_over` is to be asked again and again."""

    def __init__(self, seconds: float = PATIENCE_S) -> None:
        self.seconds = seconds
        self._left = seconds
        self._asked = time.monotonic()

    def is_over(self) -> bool:
        now = time.monotonic()
        self._left -= (now - self._asked) / slowness()
        self._asked = now
        return self._left < 0

    def ended(self, what: object = "") -> str:
        """Return what the failing test says; `what` was awaited, or a function that tells how it stands."""
        says = what() if callable(what) else what
        return f"not within {self.seconds:g} s of a quiet machine" + (f": {says}" if says else "")


def block_until(
    condition: Callable[[], Value], what: object = "", *, within: float = PATIENCE_S, every: float = 0.02
) -> Value:
    """Return the condition's value once it is true; `what` says in a failure what was awaited.

    It is asked `every` so many seconds, and seldomer where an answer takes long.
    """
    patient = Patience(within)
    while True:
        asked = time.monotonic()
        if value := condition():
            return value
        assert not patient.is_over(), patient.ended(what)
        time.sleep(pause(every, time.monotonic() - asked))  # between two questions, the one place where tests sleep


def pause(every: float, took: float) -> float:
    """Return for how many seconds to wait after a question whose answer took so long."""
    return max(every, min(1.0, took * (1 - ASKING_SHARE) / ASKING_SHARE))


async def until(
    condition: Callable[[], Any | Awaitable[Any]],
    what: object = "",
    *,
    within: float = PATIENCE_S,
    every: float = 0.01,
    despite: tuple[type[Exception], ...] = (),
) -> Any:
    """Return the condition's value, or that of its coroutine, once it is true.

    `despite`: what the condition may raise while it is not true yet.
    """
    patient = Patience(within)
    while True:
        asked, value = time.monotonic(), None
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
        except despite:
            value = None
        if value:
            return value
        assert not patient.is_over(), patient.ended(what)
        await asyncio.sleep(pause(every, time.monotonic() - asked))
