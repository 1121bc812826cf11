"""Who is let in, and with how much memory: one gate for /v1, /v2 and captures, with a share kept for the line.

The line's own requests are those that could have come over the bus: small, and naming where their pixels are instead of
bringing them. What others do costs them nothing: a share of every bound is theirs alone, and they wait before others. A
place is taken when the body is in, so that slow bodies hold none; their bytes are counted as they arrive.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from lineside import machine
from lineside.contract import InlineSource, Request
from lineside_inference.dataplane.wait_estimator import WaitEstimator
from lineside_inference.deadline import Deadline
from lineside_inference.errors import DeadlineOutOfReach, Expired, Refused, RequestError, Stopping
from lineside_inference.settings import LimitSettings

_KEPT = 4
"""One part of so many is kept for the line."""
_MEMORY_SHARE = 4
"""One part of so many of the container's memory is for bodies and images, where the settings do not say."""


def is_lines_own(request: Request, size: int, max_bytes: int) -> bool:
    """Whether a request of so many bytes could have come over the bus, which takes `max_bytes`; pixels do not."""
    return size <= max_bytes and not isinstance(request.source, InlineSource)


class Capacity:
    """An amount of something; others than the line get at most the `total` less what is `kept` for it.

    What is larger than its share is let in while nothing else of its kind is, so that no bound below it is in force.
    One of the line is let in whatever others have.
    """

    def __init__(self, total: int, *, kept: int) -> None:
        self.total = total
        self._shares = {True: total, False: total - kept}
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
            elif entry in self._waiting[line]:  # else `give` took it out, for one that gave up before it
                self._waiting[line].remove(entry)
                self.give(0, line=line)  # who waited behind it may fit now
            raise

    def _fits(self, amount: int, *, line: bool, beside: int = 0) -> bool:
        if self._used[line] == beside and (line or beside + amount > self._shares[line]):
            return True
        # One of the others that is larger than all their share takes nothing of the line's.
        others = min(self._used[False], self._shares[False])
        return self._used[True] + others + amount <= self.total and self._used[line] + amount <= self._shares[line]


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
    """So many requests are worked on at once and so many more wait, of each kind; one more is refused.

    With `kept` 0 there is only one kind. `bounds` names the settings, for who is refused.
    """

    def __init__(self, places: int, queue: int, *, kept: int, bounds: str, is_draining: Callable[[], bool]) -> None:
        self.room = Capacity(places, kept=kept)
        self.estimator = WaitEstimator(places)
        self._queue = queue
        self._max_inside = {True: places + queue, False: places - kept + queue}
        self._inside = {True: 0, False: 0}
        self._bounds = bounds
        self._is_draining = is_draining
        self._waits: dict[asyncio.Timeout, Callable[[], RequestError]] = {}

    @contextmanager
    def admit(self, *, line: bool = False) -> Iterator[None]:
        """Count a request from when its body is in until its answer is out; raises Refused or Stopping."""
        if self._is_draining():
            raise Stopping("the inference service is stopping", remedy="Ask again in a moment")
        if self._inside[line] >= self._max_inside[line]:
            raise Refused(
                f"{self._inside[line]} requests are being worked on or wait",
                remedy=f"Ask again in a moment; the bounds are {self._bounds}",
                retry_after_s=max(1, math.ceil(self.estimator.wait(self._queue))),
            )
        self._inside[line] += 1
        try:
            yield
        finally:
            self._inside[line] -= 1

    @asynccontextmanager
    async def place(self, deadline: Deadline, *, line: bool = False, model: str | None = None) -> AsyncIterator[None]:
        """Hold one of the places for work; who waits gets one in order of asking, the line's own first.

        With `model`, one of the store's, the time at work is measured, and used to tell who could not be done in time.
        Raises DeadlineOutOfReach at once for those, Expired where no place came free until the deadline, or the error
        of `end_waits`.
        """
        if not self.room.take(1, line=line):
            if model is not None:
                self._check_reach(model, deadline, line=line)
            await self._wait(deadline, line=line)
        start = time.monotonic()
        try:
            yield
        finally:
            self.room.give(1, line=line)
            if model is not None:
                self.estimator.observe(model, time.monotonic() - start)

    def end_waits(self, error: Callable[[], RequestError]) -> None:
        """Let all who wait for a place go now, each with an error of this kind."""
        for wait in self._waits:
            if not wait.expired():
                self._waits[wait] = error
                wait.reschedule(0)

    def load(self) -> dict[str, int]:
        """Return how many requests are worked on and how many wait."""
        inside = sum(self._inside.values())
        working = min(inside, self.room.total)
        return {"working": working, "waiting": inside - working}

    def _check_reach(self, model: str, deadline: Deadline, *, line: bool) -> None:
        ahead = self.room.waiting(line=True) + (0 if line else self.room.waiting(line=False))
        if (needed := self.estimator.until_done(model, ahead)) > (left := deadline.left()):
            raise DeadlineOutOfReach(
                f"{ahead} requests wait already: this one would take {needed * 1000:.0f} ms "
                f"and has {left * 1000:.0f} ms left",
                remedy="Ask less often, or give a later deadline",
            )

    async def _wait(self, deadline: Deadline, *, line: bool) -> None:
        try:
            async with asyncio.timeout(deadline.left()) as wait:
                self._waits[wait] = _no_place
                try:
                    await self.room.wait(1, line=line)
                finally:
                    error = self._waits.pop(wait)
        except TimeoutError:
            raise error() from None


def _no_place() -> RequestError:
    return Expired("the deadline passed before a place came free", remedy="Ask less often, or give a later deadline")


class Admission:
    """The bounds of the service: bytes of bodies, bytes of images while they are decoded, and places.

    Places are for requests of /v1, for those of v2, and for captures of clients, of which `max_captures` at a time.
    """

    def __init__(
        self, limits: LimitSettings, *, max_line_bytes: int, max_captures: int, is_draining: Callable[[], bool]
    ) -> None:
        half = (limits.memory_bytes or machine.memory_bytes() // _MEMORY_SHARE) // 2
        self.max_line_bytes = max_line_bytes
        self.bodies = Bodies(half, small=max_line_bytes)
        self.images = Capacity(half, kept=half // _KEPT)
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
        self.captures = AdmissionGate(
            max_captures, 0, kept=0, bounds="inference.capture.queue", is_draining=lambda: False
        )
