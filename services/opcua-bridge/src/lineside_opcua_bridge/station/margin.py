"""How long before its deadline a part's `unknown` must be begun, by what writing and waiting took lately. Pure.

The settings' `margin_ms` is what a write takes on a quiet machine. On one that is worked to death the same write takes
ten times as long, and the timer that begins it comes late; a fail-safe that is begun too late is late itself.
"""

import asyncio
import time
from collections.abc import Callable

_HALF_LIFE_S = 0.5
"""After a slow time the margin is that of the settings again within two seconds."""
_WEIGHT = 0.1
"""Share of the newest value in the mean: about the last twenty count."""
_LAG_PERIOD_S = 0.05
_MOST = 0.5
"""Share of a deadline that the margin may take at most, so that there is time to judge."""


class Peak:
    """The largest of what was measured lately, in seconds: it halves in half a second, down to the mean."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._at = 0.0
        self._mean = 0.0

    def take(self, seconds: float, now: float) -> None:
        """Take in a value that was measured at `now`, in ticks."""
        self._mean += _WEIGHT * (seconds - self._mean)
        self._peak, self._at = max(seconds, self._decayed(now)), now

    def at(self, now: float) -> float:
        """Return the peak at `now`."""
        return max(self._mean, self._decayed(now))

    def _decayed(self, now: float) -> float:
        return float(self._peak * 0.5 ** (max(0.0, now - self._at) / _HALF_LIFE_S))


class Margin:
    """What is kept before a deadline for the write-back, measured over all stations of one PLC."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.notification_delay_s = 0.0
        """Within how many seconds a change in the PLC is notified: its deadline began by so much before ours."""
        self._clock = clock
        self._writing = Peak()
        self._lag = Peak()

    def wrote(self, seconds: float) -> None:
        """Take in how long it took from when an answer was due or came to the PLC's response about done."""
        self._writing.take(seconds, self._clock())

    def lagged(self, seconds: float) -> None:
        """Take in by how much something that was due was done late for want of the processor."""
        self._lag.take(seconds, self._clock())

    @property
    def lag_s(self) -> float:
        """By how much what is due is done late at present."""
        return self._lag.at(self._clock())

    def needed(self) -> float:
        """Return the seconds that are needed at present from the decision to done, as the PLC counts."""
        now = self._clock()
        return max(self._writing.at(now), self._lag.at(now)) + self.notification_delay_s

    def of(self, *, least_s: float, deadline_s: float) -> float:
        """Return the margin of a part: at least the settings', at most half of the deadline where that is more."""
        return max(least_s, min(self.needed(), _MOST * deadline_s))

    def longest(self, *, least_s: float, deadline_s: float) -> float:
        """Return the longest margin that a part may get."""
        return max(least_s, _MOST * deadline_s)


async def watch_lag(margin: Margin, period_s: float = _LAG_PERIOD_S) -> None:
    """Measure for ever by how much this process comes late to what is due."""
    while True:
        due = time.monotonic() + period_s
        await asyncio.sleep(period_s)
        margin.lagged(max(0.0, time.monotonic() - due))
