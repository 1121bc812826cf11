"""The clocks that the forwarder uses, so that a test can replace them."""

import asyncio
import time
from datetime import datetime

from lineside.contract import utc_now


class Clock:
    """The machine's time. Everything but quiet hours goes by `monotonic`, which no change of the clock moves."""

    def monotonic(self) -> float:
        """Return seconds that only go up."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the time of day, in UTC."""
        return utc_now()

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Return when the event is set or the seconds are over."""
        if event.is_set():
            return
        ends = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.sleep(seconds))]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
