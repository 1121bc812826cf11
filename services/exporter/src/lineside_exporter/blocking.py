"""Calls that may block for ever, each in a thread that nobody has to wait for."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from lineside_exporter.errors import SourceAway

T = TypeVar("T")


class Blocking:
    """Runs one call at a time; one that hangs is left behind, and no other is begun until it has returned.

    The thread is a daemon: a process that ends does not wait for it.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()

    async def call(self, work: Callable[[], T]) -> T:
        """Return what the call returns; raises SourceAway at once while the one before still hangs."""
        if not self._turn.acquire(blocking=False):
            raise SourceAway(f"{self._name}: the last call has not returned yet")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(settle: Callable[[], None]) -> None:
            try:
                loop.call_soon_threadsafe(lambda: None if done.done() else settle())
            except RuntimeError:
                return  # the loop has ended: nobody waits

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
                self._turn.release()
                tell(lambda problem=error: done.set_exception(problem))  # type: ignore[misc]
            else:
                self._turn.release()
                tell(lambda: done.set_result(result))

        threading.Thread(target=run, name=self._name, daemon=True).start()
        return await done
