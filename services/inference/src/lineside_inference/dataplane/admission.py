"""Who is let in, and with how much memory: one gate for /v1, /v2 and captures, with a share kept for the line.

The line's own requests are those that could have come over the bus: small, and naming where their pixels are instead of
bringing them. What others do costs them nothing: a share of every bound is theirs alone, and they wait before others. A
place is taken when the body is in, so that slow bodies hold none; their bytes are counted as they arrive.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lineside import machine
from lineside.contract import InlineSource, Request
from lineside_inference.errors import Refused, Stopping
from lineside_inference.settings import LimitSettings

_KEPT = 4
"""One part of so many is kept for the line."""
_MEMORY_SHARE = 4
"""One part of so many of the container's memory is for bodies and pictures, where the settings do not say."""


def is_lines_own(request: Request, size: int, max_bytes: int) -> bool:
    """Whether a request of so many bytes could have come over the bus, which takes `max_bytes`; pixels do not."""
    return size <= max_bytes and not isinstance(request.source, InlineSource)


class Capacity:
    """An amount of something; others than the line get at most `most` less what is `kept` for it.

    What is larger than its share is let in while nothing else of its kind is, so that no bound below it is in force.
    One of the line is let in whatever others have.
    """

    def __init__(self, most: int, *, kept: int) -> None:
        self.most = most
        self._shares = {True: most, False: most - kept}
        self._used = {True: 0, False: 0}
        self._waiting: dict[bool, deque[tuple[int, asyncio.Future[None]]]] = {True: deque(), False: deque()}

    @property
    def used(self) -> int:
        """How much is taken."""
        return self._used[True] + self._used[False]

    def waiting(self, *, line: bool) -> int:
        """Return how many wait for some."""
        return len(self._waiting[line])

    def take(self, amount: int, *, line: bool, beside: int = 0) -> bool:
        """Take so much, beside what one has already, if it is free now and nobody waits for it."""
        is_wanted = self._waiting[True] or (not line and self._waiting[False])
        if is_wanted or not self._fits(amount, line=line, beside=beside):
            return False
        self._used[line] += amount
        return True

    def give(self, amount: int, *, line: bool) -> None:
        """Give so much back; who waits gets it, the line first."""
        self._used[line] -= amount
        for who in (True, False):
            queue = self._waiting[who]
            while queue and (queue[0][1].done() or self._fits(queue[0][0], line=who)):
                wanted, came = queue.popleft()
                if not came.done():
                    self._used[who] += wanted
                    came.set_result(None)
            if queue:
                return  # what is free gathers for who waits longest

    async def wait(self, amount: int, *, line: bool) -> None:
        """Take so much when it is free, in order of asking; the caller bounds the time."""
        if self.take(amount, line=line):
            return
        came = asyncio.get_running_loop().create_future()
        entry = (amount, came)
        self._waiting[line].append(entry)
        try:
            await came
        except asyncio.CancelledError:
            if came.done() and not came.cancelled():
                self.give(amount, line=line)
            else:
                self._waiting[line].remove(entry)
                self.give(0, line=line)  # who waited behind it may fit now
            raise

    def _fits(self, amount: int, *, line: bool, beside: int = 0) -> bool:
        if self._used[line] == beside and (line or beside + amount > self._shares[line]):
            return True
        # One of the others that is larger than all their share takes nothing of the line's.
        others = min(self._used[False], self._shares[False])
        return self._used[True] + others + amount <= self.most and self._used[line] + amount <= self._shares[line]


class Bodies:
    """The memory of all bodies; one of at most `small` bytes takes from the line's share, which they cannot use up."""

    def __init__(self, max_bytes: int, *, small: int) -> None:
        self.room = Capacity(max_bytes, kept=max_bytes // _KEPT)
        self._small = small

    @contextmanager
    def one(self, factor: int) -> "Iterator[Body]":
        """Count one body, each byte of which costs `factor` bytes until its answer is out."""
        body = Body(self.room, factor, self._small)
        try:
            yield body
        finally:
            body.forget()


class Body:
    """What one body takes."""

    def __init__(self, room: Capacity, factor: int, small: int) -> None:
        self._room = room
        self._factor = factor
        self._small = small
        self._size = 0
        self._taken = 0
        self._is_lines = True

    def grow(self, count: int) -> None:
        """Take in that so many more bytes came; raises Refused where there is no memory for them."""
        self._size += count
        if self._is_lines and self._size > self._small:
            self.forget()
            self._is_lines = False
        more = self._size * self._factor - self._taken
        if not self._room.take(more, line=self._is_lines, beside=self._taken):
            raise Refused(
                f"the requests that are arriving or worked on have {self._room.used} bytes",
                remedy="Ask again in a moment, and fewer at a time; the bound is inference.limits.memory_bytes",
            )
        self._taken += more

    def forget(self) -> None:
        """Give its memory back."""
        self._room.give(self._taken, line=self._is_lines)
        self._taken = 0


class AdmissionGate:
    """So many are worked on at once and so many more wait, of each kind; one more is refused.

    With `kept` 0 there is only one kind.
    """

    def __init__(self, most: int, queue: int, *, kept: int, bounds: str, is_draining: Callable[[], bool]) -> None:
        self.room = Capacity(most, kept=kept)
        self._most = {True: most + queue, False: most - kept + queue}
        self._inside = {True: 0, False: 0}
        self._bounds = bounds
        self._is_draining = is_draining

    @contextmanager
    def admit(self, *, line: bool = False, wait_s: float = 0.0) -> Iterator[None]:
        """Count a request from when its body is in until its answer is out; raises Refused or Stopping.

        `wait_s` is how long one more would wait, for who is refused.
        """
        if self._is_draining():
            raise Stopping("the inference service is stopping", remedy="Ask again in a moment")
        if self._inside[line] >= self._most[line]:
            raise Refused(
                f"{self._inside[line]} requests are being worked on or wait",
                remedy=f"Ask again in a moment; the bounds are {self._bounds}",
                retry_after_s=max(1, math.ceil(wait_s)),
            )
        self._inside[line] += 1
        try:
            yield
        finally:
            self._inside[line] -= 1

    def load(self) -> dict[str, int]:
        """Return how many requests are worked on and how many wait."""
        inside = sum(self._inside.values())
        working = min(inside, self.room.most)
        return {"working": working, "waiting": inside - working}


class Admission:
    """The bounds of the service: bytes of bodies, bytes of pictures while they are decoded, and the places of /v1."""

    def __init__(self, limits: LimitSettings, *, max_line_bytes: int, is_draining: Callable[[], bool]) -> None:
        half = (limits.memory_bytes or machine.memory_bytes() // _MEMORY_SHARE) // 2
        self.max_line_bytes = max_line_bytes
        self.bodies = Bodies(half, small=max_line_bytes)
        self.pictures = Capacity(half, kept=half // _KEPT)
        self.places = AdmissionGate(
            limits.concurrency,
            limits.queue,
            kept=limits.concurrency // _KEPT,
            bounds="inference.limits.concurrency and queue",
            is_draining=is_draining,
        )
        self.v2 = AdmissionGate(
            limits.v2_concurrency,
            limits.queue,
            kept=0,
            bounds="inference.limits.v2_concurrency and queue",
            is_draining=is_draining,
        )
