"""One destination's supervisor: leases batches from the spool and brings them there until it is stopped.

Batches of one stream go one after the other, up to four streams side by side. While the destination fails one batch
at a time is tried. What does not arrive goes back to the spool, which hands it out again, the same.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import BinaryIO

import structlog

from lineside.connections import Connection, State
from lineside.spool import Lease, LeaseLost, Spool, SpoolDamaged, SpoolError, StoredBlob
from lineside.threads import run_to_end
from lineside_forwarder.clock import Clock
from lineside_forwarder.destination import BatchUpload, Destination
from lineside_forwarder.errors import BatchRefused, Fault, ForwarderError, NotAllowed, Throttled
from lineside_forwarder.metrics import Metrics
from lineside_forwarder.quiet_hours import QuietHours
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.retry_schedule import RetrySchedule

log = structlog.get_logger("lineside.forwarder")

_WIDTH = 4
_IDLE_S = 1.0
_LOOK_AGAIN_S = 60.0
_CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """How one destination is served: the box's name and first folder of every path, the rate, when, how often.

    With `period_s` everything that waits goes once in so many seconds; else as it comes.
    """

    device: str
    root: str
    limiter: RateLimiter
    quiet: QuietHours | None = None
    period_s: float | None = None


class SpoolBlobs:
    """Blobs of a spool, verified."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    async def open(self, blob: StoredBlob) -> BinaryIO | None:
        """Open a blob; None: it was damaged, and is in quarantine now."""
        try:
            return await run_to_end(self._spool.open_blob, blob)
        except SpoolDamaged:
            return None


class Supervisor:
    """Delivers to one destination."""

    def __init__(
        self,
        spool: Spool,
        destination: Destination,
        link: Connection,
        *,
        policy: DeliveryPolicy,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._spool = spool
        self._destination = destination
        self._link = link
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._blobs = SpoolBlobs(spool)
        self._schedule = RetrySchedule(link, clock.monotonic)
        self._news = asyncio.Event()
        self._stopping = False
        self._leasing = asyncio.Lock()
        """So that no batch is given back between the look at who waits and the lease: it would be tried at once."""
        self._under_way: set[asyncio.Task[None]] = set()
        self._trouble: ForwarderError | None = None
        self._alarms: dict[str, str] = {}
        """Why somebody has to change something, by stream."""
        self._next_round = clock.monotonic() + (policy.period_s or 0.0)
        self._told = ("", "")
        self._refused: dict[int, bool] = {}
        """Batches that were refused since the last one arrived, and whether each is a dead letter by now."""

    def notify(self) -> None:
        """Say that there may be something new to deliver."""
        self._news.set()

    def stop(self) -> None:
        """Begin nothing new; `run` returns when what is under way has ended."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Deliver until `stop`. Raises SpoolError where the spool fails; cancelled, it gives back what is under way."""
        try:
            while not self._stopping or self._under_way:
                self._news.clear()
                self._collect()
                wait_s = _IDLE_S if self._stopping else self._wait_s()
                if wait_s <= 0:
                    wait_s = await self._begin()
                await self._tell()
                if not self._stopping or self._under_way:
                    await self._clock.wait(self._news, wait_s)
            self._collect()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    def _wait_s(self) -> float:
        """Return for how long nothing new may begin, and show why; 0: it may."""
        if self._trouble is not None:
            if self._under_way:
                return _IDLE_S  # what is under way fails too, or not: then it counts once
            self._schedule.back_off(self._trouble)
            self._trouble = None
        if (wait_s := self._schedule.wait_s()) > 0:
            return wait_s
        if self._policy.quiet and (until := self._policy.quiet.until(self._clock.now())):
            self._link.paused(f"quiet hours, goes on at {until:%H:%M}")
            return max(1.0, min(_LOOK_AGAIN_S, (until - self._clock.now()).total_seconds()))
        return self._next_round - self._clock.monotonic() if self._policy.period_s else 0.0

    async def _begin(self) -> float:
        """Start deliveries while there is room and something to deliver; return how long to wait for the next look."""
        while len(self._under_way) < (_WIDTH if self._link.is_online else 1):
            async with self._leasing:
                lease = await run_to_end(self._lease, self._schedule.passed_over())
            if lease is None:
                held = self._schedule.held()
                if not self._under_way:
                    self._rest(is_empty=not held)
                return min([_IDLE_S, *held.values()])
            if not self._link.is_online:
                self._link.connecting()
            task = asyncio.create_task(self._deliver(lease), name=f"{self._destination.name} {lease.batch.number}")
            self._under_way.add(task)
            task.add_done_callback(lambda _task: self._news.set())
        return _IDLE_S

    def _lease(self, passed_over: list[frozenset[str]]) -> Lease | None:
        for streams in passed_over:
            if lease := self._spool.lease(self._destination.name, without=streams):
                return lease
        return None

    def _rest(self, *, is_empty: bool) -> None:
        """Show that nothing is waiting, and begin the wait for the next round of uploads."""
        if is_empty and self._alarms:
            self._alarms.clear()
            self._metrics.alarms(self._destination.name, [])
        if self._policy.period_s:
            self._next_round = self._clock.monotonic() + self._policy.period_s
        if self._link.state is State.PAUSED:
            self._link.connecting()
        if self._link.state is State.CONNECTING:
            self._link.detail = "nothing to send yet"

    def _collect(self) -> None:
        """Remove deliveries that have ended; raises the spool's errors."""
        for task in [task for task in self._under_way if task.done()]:
            self._under_way.discard(task)
            task.result()

    async def _deliver(self, lease: Lease) -> None:
        """Bring one batch there and confirm it, or give it back."""
        try:
            await self._attempt(lease)
        except LeaseLost as error:  # its destination was forgotten meanwhile
            log.warning("a lease was lost", destination=lease.destination, batch=lease.batch.name, error=str(error))

    async def _attempt(self, lease: Lease) -> None:
        batch = lease.batch
        try:
            records = await run_to_end(self._spool.read, batch)
            if records:
                upload = BatchUpload(batch, tuple(records), device=self._policy.device, root=self._policy.root)
                await self._destination.deliver(upload, self._blobs, self._policy.limiter)
                self._arrived(batch.stream)
        except ForwarderError as error:
            await self._failed(lease, error)
        except SpoolError:
            raise
        except asyncio.CancelledError:
            with contextlib.suppress(SpoolError):  # a lease ends with its process too
                await run_to_end(self._spool.release, lease, "the forwarder stopped")
            raise
        except Exception as error:
            log.exception("a delivery failed by a fault in the forwarder", destination=self._destination.name)
            await self._failed(lease, Fault(f"fault in the forwarder: {error!r}", remedy="Its log says where"))
        else:
            await run_to_end(self._spool.confirm, lease)
            log.debug("delivered", destination=lease.destination, batch=batch.name, records=len(records))

    def _arrived(self, stream: str) -> None:
        self._schedule.succeeded(stream)
        self._refused.clear()
        left = {each: cause for each, cause in self._alarms.items() if each != stream and cause != _CONFIGURATION}
        if left != self._alarms:  # what one batch gets through is configured right for all
            self._alarms = left
            self._metrics.alarms(self._destination.name, left.values())
        self._link.online()

    async def _failed(self, lease: Lease, error: ForwarderError) -> None:
        """Give a batch back, and let the destination or only its stream wait."""
        name, batch = self._destination.name, lease.batch
        self._schedule.failed(batch.stream)
        if isinstance(error, BatchRefused) and self._refused.keys() - {batch.number}:
            error = await self._not_about_one_batch(error)
            self._refused[batch.number] = False
        self._metrics.failed(name, _cause(error))
        if isinstance(error, BatchRefused):
            async with self._leasing:
                is_dead = self._refused[batch.number] = await run_to_end(self._spool.refuse, lease, str(error))
            log.warning("batch refused", destination=name, batch=batch.name, error=str(error), dead=is_dead)
            self._link.online()  # it answered
            return
        if isinstance(error, NotAllowed | Fault):
            self._alarms[batch.stream] = _cause(error)
            self._metrics.alarms(name, self._alarms.values())
            log.error("a batch cannot go", destination=name, batch=batch.name, error=error.what, remedy=error.remedy)
        self._trouble = _worse(self._trouble, error)
        async with self._leasing:
            await run_to_end(self._spool.release, lease, str(error))

    async def _not_about_one_batch(self, error: BatchRefused) -> NotAllowed:
        """Return what it means that several batches were refused and none arrived: it is not about any of them.

        What became a dead letter by that is put back in line. Once one arrives, refusals count again.
        """
        for number in [number for number, is_dead in self._refused.items() if is_dead]:
            await run_to_end(self._spool.retry, self._destination.name, number)
            self._refused[number] = False
        return NotAllowed(
            f"every batch is refused: {error.what}",
            reason=_CONFIGURATION,
            remedy="It is not about one batch, for none arrives: look at this destination's settings and at the rules "
            "of what receives (encryption, locks, a proxy's limit); nothing is set aside meanwhile",
        )

    async def _tell(self) -> None:
        """Write the connection's state to the spool, from where it is shown; not each attempt while it is away."""
        state, detail = self._link.state.value, self._link.detail
        if (state, detail) == self._told or (state == State.CONNECTING and self._told[0] == State.BACKOFF):
            return
        await run_to_end(self._spool.report, self._destination.name, state, detail)
        self._told = (state, detail)


def _cause(error: ForwarderError) -> str:
    """Return the word for the metric."""
    return error.reason if isinstance(error, NotAllowed) else error.code


def _worse(before: ForwarderError | None, error: ForwarderError) -> ForwarderError:
    """Return the error that needs the longer wait; of equal ones the later."""

    def rank(one: ForwarderError) -> tuple[bool, float]:
        return isinstance(one, NotAllowed), one.retry_after_s if isinstance(one, Throttled) else 0.0

    return error if before is None or rank(error) >= rank(before) else before
