"""Blocking calls in threads, with the two kinds of waiting for them.

`run_abandonable` leaves the call behind where its caller is cancelled, for a call that may hang for ever. Its threads
are daemons: the process's end does not wait for them, as it does for a pool's.
`run_to_end` waits for the call's end also where its caller is cancelled, so that nothing is closed that the call uses.
`hand_over` is the way back: from a library's own thread to the event loop.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
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
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome


async def run_abandonable(call: Callable[[], T], name: str = "blocking call") -> T:
    """Return what a call returns, run in a daemon thread of this name; when cancelled, return at once without it."""
    return await asyncio.wrap_future(start(call, name))


async def run_to_end(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a call returns, run in the event loop's default executor; when cancelled, wait for its end first."""
    return await run_to_end_in(None, call, *args, **kwargs)


async def run_to_end_in(pool: Executor | None, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do as `run_to_end` in a pool, for calls that may take long and shall take no thread from others."""
    running = asyncio.get_running_loop().run_in_executor(pool, partial(call, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait((running,))
        if not running.cancelled():
            running.exception()  # retrieved here: the caller is cancelled
        raise


class Daemons(ThreadPoolExecutor):
    """An event loop's default executor, for `asyncio.to_thread`: no call waits for another."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin a call."""
        return start(partial(fn, *args, **kwargs), "daemon")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for nothing."""


def hand_over(loop: asyncio.AbstractEventLoop, call: Callable[..., object], *arguments: object) -> None:
    """Have something called in the event loop's thread, from any other; nothing where the loop has ended."""
    with contextlib.suppress(RuntimeError):  # it is closed: the process ends
        loop.call_soon_threadsafe(call, *arguments)
