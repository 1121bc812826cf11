"""When a destination, and a stream at it, may be tried again."""

import random
from collections.abc import Callable

from lineside.backoff import Backoff
from lineside.connections import Connection
from lineside_forwarder.errors import ForwarderError, NotAllowed, Throttled

FIRST_S = 0.5
LONGEST_S = 300.0
_STREAM = Backoff(FIRST_S, LONGEST_S)
_NOT_ALLOWED = Backoff(60.0, 900.0, jitter=0.25)
"""For what somebody has to change first."""
_MAX_RETRY_AFTER_S = 3600.0
"""A destination that asks for a longer wait is tried again all the same."""


class RetrySchedule:
    """Keeps the waits: one for the destination, which grows while all fails, and one for each stream that failed.

    A stream has its own wait, so that a batch that always fails is tried less and less often while other streams go on.
    """

    def __init__(self, link: Connection, monotonic: Callable[[], float]) -> None:
        self._link = link
        self._monotonic = monotonic
        self._not_before = 0.0
        self._not_allowed = 0
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}
        self._suspects: list[str] = []
        self._random = random.Random()  # noqa: S311 - jitter, not a secret

    def failed(self, stream: str) -> None:
        """Count a failure of a stream's batch, and hold the stream for a while."""
        failures = self._failures.get(stream, 0)
        self._failures[stream] = failures + 1
        self._until[stream] = self._monotonic() + _STREAM.wait_s(failures)
        self._suspects = [each for each in self._suspects if each != stream] + [stream]

    def succeeded(self, stream: str) -> None:
        """Forget what was held against the stream and the destination."""
        self._failures.pop(stream, None)
        self._until.pop(stream, None)
        self._suspects = [each for each in self._suspects if each != stream]
        self._not_allowed = 0

    def back_off(self, error: ForwarderError) -> float:
        """Hold the destination after an error; return for how many seconds."""
        least_s = 0.0
        if isinstance(error, NotAllowed):
            chance = self._random.random() if self._not_allowed else 0.0  # the first wait is a whole one
            least_s = _NOT_ALLOWED.wait_s(self._not_allowed, chance)
            self._not_allowed += 1
        elif isinstance(error, Throttled):
            least_s = min(error.retry_after_s, _MAX_RETRY_AFTER_S)
        wait_s = self._link.backoff(str(error), least_s=least_s)
        self._not_before = self._monotonic() + wait_s
        return wait_s

    def wait_s(self) -> float:
        """Return the seconds until the destination may be tried; 0: now."""
        return max(0.0, self._not_before - self._monotonic())

    def held(self) -> dict[str, float]:
        """Return the streams that are held, each with the seconds that remain."""
        now = self._monotonic()
        return {stream: until - now for stream, until in self._until.items() if until > now}

    def passed_over(self) -> list[frozenset[str]]:
        """Return sets of streams to leave out of the next lease, to be tried in this order.

        First all that failed since they last succeeded, then the one that failed last, then only those that are held.
        So every stream gets an attempt while one at a time is made, and a stream that always fails delays no other.
        """
        held = frozenset(self.held())
        if not self._suspects:
            return [held]
        return [held.union(self._suspects), held | {self._suspects[-1]}, held]
