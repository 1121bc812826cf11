"""Blocking calls of which at most one is under way."""

import threading
from collections.abc import Callable
from typing import TypeVar

from lineside import threads
from lineside_exporter.errors import SourceAway

T = TypeVar("T")


class SingleFlight:
    """Runs one call at a time in a daemon thread; while one hangs, no other is begun."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()

    async def call(self, work: Callable[[], T]) -> T:
        """Return what the call returns; raises SourceAway at once while the one before still hangs."""
        if not self._lock.acquire(blocking=False):
            raise SourceAway(f"{self._name}: the last call has not returned yet")

        def run() -> T:
            try:
                return work()
            finally:
                self._lock.release()

        return await threads.run_abandonable(run, self._name)
