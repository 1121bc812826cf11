"""A clock's ticks on a fixed grid: they do not drift, and those that nobody could serve are counted, not made up for.

All times are seconds of a monotonic clock, handed in.
"""

import asyncio


class Ticker:
    """The ticks `start + every`, `start + 2 * every` and so on. `every` in seconds, above 0."""

    def __init__(self, start: float, every: float) -> None:
        self._start = start
        self._every = every
        self._place = 1

    @property
    def due(self) -> float:
        """When the next tick is."""
        return self._start + self._place * self._every

    def take(self, now: float) -> int:
        """Take the tick that is due; return how many after it have passed by `now` and are left out."""
        missed = max(0, int((now - self.due) / self._every))
        self._place += 1 + missed
        return missed


class FairLock:
    """One after the other, with everything else that is ready in between.

    Windows of a hundred stations are complete at the same instant, and each takes its while: an edge that comes
    then must not wait for all of them.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def take(self) -> None:
        """Wait for the own turn, which lasts until the caller waits for something else."""
        async with self._lock:
            await asyncio.sleep(0)  # the event loop looks at the network before it goes on here
