"""A ticker that does not drift and counts the ticks it missed; and a lock that lets other tasks run in between."""

import asyncio


class Ticker:
    """The ticks `start + every`, `start + 2 * every` and so on; in seconds of a monotonic clock, `every` above 0."""

    def __init__(self, start: float, every: float) -> None:
        self._start = start
        self._every = every
        self._place = 1

    @property
    def due(self) -> float:
        """When the next tick is."""
        return self._start + self._place * self._every

    def take(self, now: float) -> int:
        """Take the tick that is due; return how many later ones have passed by `now` and are skipped."""
        missed = max(0, int((now - self.due) / self._every))
        self._place += 1 + missed
        return missed


class FairLock:
    """Lets tasks run one after the other, and every other ready task between two of them.

    Windows of a hundred stations may be complete at the same instant, and each takes some time: an edge that comes then
    must not wait for all of them.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the caller's turn, which lasts until it waits for something else."""
        async with self._lock:
            await asyncio.sleep(0)  # the event loop runs other ready tasks first
