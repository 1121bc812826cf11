"""Calls of a device, of which only one may be under way."""

import threading
from collections.abc import Callable
from typing import TypeVar

from lineside import threads
from lineside_exporter.errors import SourceAway

T = TypeVar("T")


class SingleFlight:
    """Runs one call at a time; one that hangs is left behind, and no other is begun until it has returned."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = threading.Lock()

    async def call(self, work: Callable[[], T]) -> T:
        """Return what the call returns; raises SourceAway at once while the one before still hangs."""
        if not self._turn.acquire(blocking=False):
            raise SourceAway(f"{self._name}: the last call has not returned yet")

        def run() -> T:
            try:
                return work()
            finally:
                self._turn.release()

        return await threads.run_abandonable(run, self._name)
