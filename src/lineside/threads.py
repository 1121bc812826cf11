"""Calls that may block for ever, each in a thread of its own that nobody has to wait for.

The threads are daemons: a pool's are waited for at the process's end, for as long as a dead link or driver hangs.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def start(call: Callable[[], T], name: str) -> Future[T]:
    """Begin a call; what it returns or raises is in the future. A cancellation cannot reach it any more."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - whatever it is goes to who waits
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


async def in_thread(call: Callable[[], T], name: str = "blocking call") -> T:
    """Return what a blocking call returns; one that hangs keeps neither us, once we are cancelled, nor our end."""
    return await asyncio.wrap_future(start(call, name))


class Daemons(ThreadPoolExecutor):
    """An event loop's default executor, for `asyncio.to_thread`: no call waits for another."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin a call."""
        return start(partial(fn, *args, **kwargs), "daemon")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for nothing."""
