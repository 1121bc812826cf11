"""What tests of the forwarder share: evidence, a scripted destination, a simulated clock, a running forwarder."""

import asyncio
import heapq
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from lineside.capture import Event, Item, compose
from lineside.connections import Connection
from lineside.spool import Entry, Spool, SpoolSettings
from lineside_forwarder.clock import Clock
from lineside_forwarder.delivering import DeliveryPolicy
from lineside_forwarder.destination import BatchUpload, BlobSource, Destination
from lineside_forwarder.forwarder import Forwarder, Route
from lineside_forwarder.metrics import Metrics, SpoolCollector
from lineside_forwarder.quiet_hours import QuietHours
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S

HOUR = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)


def entry(
    key: str, model: str = "spindle", *, image: bytes = b"", time: datetime = HOUR, embed_limit: int = 3072
) -> Entry:
    """Return a capture; an image of more than `embed_limit` bytes is an object of its own."""
    event = Event(id=key, fleet="line", device="box", model=model, model_version="1", time=time, extra={})
    items = [Item("outputs", "scores", "Tensor[FLOAT32; 1, 2]", b"12345678")]
    if image:
        items.append(Item("inputs", "image", "jpg", image, suffix="jpg"))
    return compose(event, items, embed_limit=embed_limit)


class Counted(ThreadPoolExecutor):
    """An event loop's default executor that knows how many of its calls have not ended."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self._lock = threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._count(1)
        made = super().submit(fn, *args, **kwargs)
        made.add_done_callback(lambda _made: self._count(-1))
        return made

    def _count(self, more: int) -> None:
        with self._lock:
            self.running += more


class Simulated(Clock):
    """Time that goes on to the next sleeper's end whenever nobody is awake for a moment, in a thread neither.

    Made in the event loop whose default executor it replaces: the spool is called there, and on a slow disk a call
    would otherwise take minutes of this time.
    """

    def __init__(self, start: datetime = HOUR) -> None:
        self._threads = Counted()
        asyncio.get_running_loop().set_default_executor(self._threads)
        self.time = 0.0
        self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._going: asyncio.Task[None] | None = None

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.time)

    async def sleep(self, seconds: float) -> None:
        await self.end_of(seconds)

    def end_of(self, seconds: float) -> asyncio.Future[None]:
        """Return what is done once the seconds are over."""
        if self._going is None:
            self._going = asyncio.create_task(self._go())
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.time + max(0.0, seconds), next(self._numbers), end))
        return end

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            if self._threads.running:
                continue
            await asyncio.sleep(0)  # what a call that has just ended wakes comes first
            if self._threads.running:
                continue
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers:
                self.time, _number, end = heapq.heappop(self._sleepers)
                end.set_result(None)


@dataclass
class Scripted:
    """A destination that raises what `answer` raises, and remembers."""

    name: str = "scripted"
    target: str = "test"
    answer: Callable[[BatchUpload], None] = lambda _upload: None
    begun: list[BatchUpload] = field(default_factory=list)
    arrived: list[BatchUpload] = field(default_factory=list)
    running: int = 0
    most: int = 0
    gate: asyncio.Event | None = None
    clock: Clock = field(default_factory=Clock)
    begun_at: list[float] = field(default_factory=list)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        del blobs, limiter
        self.begun.append(upload)
        self.begun_at.append(self.clock.monotonic())
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            self.answer(upload)
            self.arrived.append(upload)
        finally:
            self.running -= 1

    def captures(self, stream: str | None = None) -> list[str]:
        """Return the captures that arrived, in order."""
        return [
            record.key for upload in self.arrived for record in upload.records if stream in {None, upload.batch.stream}
        ]


@dataclass
class Running:
    """A forwarder that runs."""

    forwarder: Forwarder
    links: dict[str, Connection]
    spool_link: Connection
    registry: CollectorRegistry
    task: asyncio.Task[None]

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"lineside_forwarder_{name}", labels)


@asynccontextmanager
async def forwarding(
    folder: Path,
    *destinations: Destination,
    batch_size: int = 10,
    push_period_s: float = 0.05,
    clock: Clock | None = None,
    quiet: Sequence[str] = (),
    period_s: dict[str, float] | None = None,
    drain_s: float = 5.0,
    refusals: int = 5,
) -> AsyncIterator[Running]:
    """Run a forwarder from a spool in `folder` to some destinations; `period_s` by the destination's name."""
    clock = clock or Clock()
    registry = CollectorRegistry()
    figures = SpoolCollector(lambda: 0, clock.monotonic)
    registry.register(figures)
    links = {
        each.name: Connection(each.name, each.target, required=False, first_s=FIRST_S, longest_s=LONGEST_S)
        for each in destinations
    }
    routes = [
        Route(
            each,
            links[each.name],
            DeliveryPolicy(
                device="box",
                root="sme-capture",
                limiter=RateLimiter(None, clock),
                quiet=QuietHours(quiet, "UTC") if quiet else None,
                period_s=(period_s or {}).get(each.name),
            ),
        )
        for each in destinations
    ]
    spool_link = Connection("spool", str(folder), first_s=0.01, longest_s=0.05)
    forwarder = Forwarder(
        SpoolSettings.model_validate({"folder": folder, "refusals": refusals}),
        routes,
        spool_link,
        batch_size=batch_size,
        push_period_s=push_period_s,
        metrics=Metrics(registry),
        figures=figures,
        clock=clock,
    )
    task = asyncio.create_task(forwarder.run())
    try:
        yield Running(forwarder, links, spool_link, registry, task)
    finally:
        await forwarder.drain(drain_s)
        await asyncio.gather(task, return_exceptions=True)


def opened(folder: Path) -> Spool:
    """Open a spool for a test's own use; close it."""
    return Spool.open(SpoolSettings.model_validate({"folder": folder}), producer="test")
