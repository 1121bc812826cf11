"""The bandwidth cap, shared by all destinations over a network."""

from collections.abc import Callable

from lineside_forwarder.clock import Clock


class Bucket:
    """A leaky bucket: how long to wait before some bytes may go, so that on average no more than `rate` a second go.

    What went unused is kept for one second at most. Callers are served in the order in which they come.
    """

    def __init__(self, rate: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._monotonic = monotonic
        self._free_at = monotonic()
        """When all that was granted has gone, at the rate."""

    def take(self, amount: int) -> float:
        """Grant `amount` bytes; return the seconds to wait before sending them."""
        now = self._monotonic()
        self._free_at = max(self._free_at, now - 1.0) + amount / self._rate
        return max(0.0, self._free_at - now)


class RateLimiter:
    """The bandwidth cap, in bytes a second; None: there is none."""

    def __init__(self, bytes_s: int | None, clock: Clock) -> None:
        self._bucket = Bucket(bytes_s, clock.monotonic) if bytes_s else None
        self._clock = clock

    async def spend(self, amount: int) -> None:
        """Wait until `amount` bytes may be sent, then count them; spend before sending, in pieces of about 64 KiB."""
        if self._bucket is not None and (wait_s := self._bucket.take(amount)) > 0:
            await self._clock.sleep(wait_s)
