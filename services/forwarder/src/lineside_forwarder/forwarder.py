"""The forwarder's life: opens the spool, seals what waits, supervises the destinations, sweeps, shows.

Where the spool fails everything that uses it ends, the spool is closed, and it is opened again, for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import structlog

from lineside.connections import Connection, describe
from lineside.spool import Spool, SpoolError, SpoolFull, SpoolSettings
from lineside.threads import run_to_end
from lineside_forwarder.clock import Clock
from lineside_forwarder.delivering import DeliveryPolicy, Supervisor
from lineside_forwarder.destination import Destination
from lineside_forwarder.metrics import Metrics, SpoolCollector
from lineside_forwarder.sealing import Sealing, SealOrder

log = structlog.get_logger("lineside.forwarder")

_SEAL_EVERY_S = 0.25
_STATUS_EVERY_S = 2.0
_SWEEP_EVERY_S = 60.0
_MAX_RECORDS = 10_000
_MAX_BYTES = 8 * 1024 * 1024
"""Most bytes of a batch, so that one fits in memory."""


@dataclass(frozen=True, slots=True)
class Route:
    """A destination with its connection's state and how it is served."""

    destination: Destination
    link: Connection
    policy: DeliveryPolicy


class Forwarder:
    """Brings the evidence of one spool to its destinations."""

    def __init__(
        self,
        settings: SpoolSettings,
        routes: Sequence[Route],
        link: Connection,
        *,
        batch_size: int,
        push_period_s: float,
        metrics: Metrics,
        figures: SpoolCollector,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._routes = routes
        self._link = link
        self._batch_size = batch_size
        self._push_period_s = push_period_s
        self._metrics = metrics
        self._figures = figures
        self._clock = clock or Clock()
        self._stop = asyncio.Event()
        self._supervisors: list[Supervisor] = []
        self._strangers: set[str] = set()
        self._running: asyncio.Task[None] | None = None
        self._is_tight = False

    async def run(self) -> None:
        """Forward until `drain`, whatever happens to the spool."""
        self._running = asyncio.current_task()
        async with _started([route.destination for route in self._routes]):
            while not self._stop.is_set():
                try:
                    await self._with_spool()
                except* SpoolError as errors:
                    error = _first(errors)
                    wait_s = self._link.backoff(str(error))
                    log.warning("the spool fails", error=str(error), again_in_s=round(wait_s, 1))
                    await self._clock.wait(self._stop, wait_s)

    async def drain(self, seconds: float) -> None:
        """Begin nothing new, wait for what is under way, and give back what does not end in time."""
        self._stop.set()
        for supervisor in self._supervisors:
            supervisor.stop()
        if self._running is not None and not self._running.done():
            _done, late = await asyncio.wait((self._running,), timeout=seconds)
            if late:
                log.warning("deliveries given back at the stop")
                self._running.cancel()
                await asyncio.wait((self._running,))

    async def _with_spool(self) -> None:
        self._link.connecting()
        spool = await run_to_end(self._open)
        try:
            await self._know(spool)
            self._link.online()
            await self._live(spool)
        finally:
            self._supervisors = []
            await run_to_end(spool.close)

    def _open(self) -> Spool:
        return Spool.open(self._settings)

    async def _know(self, spool: Spool) -> None:
        """Make the destinations known, and say which were and are no more."""
        for name in await run_to_end(spool.register, [route.destination.name for route in self._routes]):
            log.warning(
                "a destination is no longer configured and its evidence is held",
                destination=name,
                remedy=f"configure it again, or: lineside spool forget {name}",
            )
            self._metrics.alarms(name, ["not-configured"])
            self._strangers.add(name)

    async def _live(self, spool: Spool) -> None:
        self._supervisors = [
            Supervisor(
                spool, route.destination, route.link, policy=route.policy, metrics=self._metrics, clock=self._clock
            )
            for route in self._routes
        ]
        if self._stop.is_set():  # it came while the spool was opened
            return
        async with asyncio.TaskGroup() as group:
            for supervisor in self._supervisors:
                group.create_task(supervisor.run())
            group.create_task(self._seal(spool))
            group.create_task(self._show(spool))
            group.create_task(self._sweep(spool))

    async def _seal(self, spool: Spool) -> None:
        sealing = Sealing(batch_size=self._batch_size, period_s=self._push_period_s)
        while not self._stop.is_set():
            runs = await run_to_end(spool.unsealed, _MAX_RECORDS)
            sealed = 0
            for order in sealing.due(runs, self._clock.monotonic()):
                count, is_whole = await run_to_end(self._seal_run, spool, order)
                sealed += count
                self._notify()
                if not is_whole:  # a later run of its stream would go before what is left of it, which would stay
                    break
            if not sealed:
                await self._clock.wait(self._stop, _SEAL_EVERY_S)

    def _seal_run(self, spool: Spool, order: SealOrder) -> tuple[int, bool]:
        """Seal a run as far as it is due, in batches; return how many, and whether all of it is sealed."""
        run, left, count = order.run, order.records, 0
        while left > 0 and not self._stop.is_set():
            try:
                batch = spool.seal(run, min(self._batch_size, left), _MAX_BYTES)
            except SpoolFull as error:  # what is sealed already goes first, which makes room
                if not self._is_tight:
                    log.warning("the disk is full: sealing waits for deliveries", error=str(error))
                self._is_tight = True
                break
            self._is_tight = False
            if batch is None:  # the next of it were dropped, or sealed by another process
                break
            taken = len(batch.numbers)
            run = replace(run, numbers=run.numbers[taken:], size=run.size - batch.size)
            left -= taken
            count += 1
            self._metrics.sealed.inc()
        return count, left <= 0

    def _notify(self) -> None:
        for supervisor in self._supervisors:
            supervisor.notify()

    async def _show(self, spool: Spool) -> None:
        while not self._stop.is_set():
            status = await run_to_end(spool.status)
            self._figures.put(status)
            for name in self._strangers - {each.name for each in status.destinations}:
                self._strangers.discard(name)
                self._metrics.alarms(name, [])
            await self._clock.wait(self._stop, _STATUS_EVERY_S)

    async def _sweep(self, spool: Spool) -> None:
        while not self._stop.is_set():
            await run_to_end(spool.sweep)
            await self._clock.wait(self._stop, _SWEEP_EVERY_S)


@asynccontextmanager
async def _started(destinations: Sequence[Destination]) -> AsyncIterator[None]:
    try:
        for destination in destinations:
            await destination.start()
        yield
    finally:
        for destination in destinations:
            try:
                await destination.close()
            except Exception as error:  # noqa: BLE001 - the others are closed all the same
                log.warning("a destination did not close", destination=destination.name, error=describe(error))


def _first(errors: BaseExceptionGroup[SpoolError]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
