"""A day with a store that goes away, resets, throttles and refuses: all evidence arrives, once, in order, unhurried.

A real store in its own process, behind a server that answers as scripted, behind a proxy that breaks the way. The
day's waits are simulated; what goes over the network is real.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from lineside.connections import Connection
from lineside.spool import Spool
from lineside_forwarder.delivering import DeliveryPolicy, Supervisor
from lineside_forwarder.destination import BatchUpload, BlobSource
from lineside_forwarder.errors import ForwarderError
from lineside_forwarder.metrics import Metrics
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.retry_schedule import FIRST_S, LONGEST_S
from lineside_forwarder.s3 import S3Destination
from lineside_forwarder.settings import S3Settings
from tests.support.fault_proxy import FaultProxy
from tests.support.forwarding import Simulated, entry, opened
from tests.support.simulated_s3 import KEYS, Store
from tests.support.store_front import Answer, Front
from tests.support.waiting import until

HOUR_S = 3600.0
MODELS = ("spindle", "gasket")
IMAGE = bytes(range(256)) * 240  # 60 KB
LARGE = IMAGE * 100  # 5.9 MiB: more than one part


class Patient(Simulated):
    """Simulated time that goes on only while the supervisor waits and nothing is really under way."""

    def __init__(self) -> None:
        super().__init__()
        self.is_busy: Callable[[], bool] = lambda: False
        self._waits: dict[asyncio.Future[None], asyncio.Event] = {}

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        end, news = self.end_of(seconds), asyncio.create_task(event.wait())
        self._waits[end] = event
        try:
            await asyncio.wait({end, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._waits[end]
            end.cancel()
            news.cancel()
            await asyncio.gather(news, return_exceptions=True)

    def _is_waited(self) -> bool:
        """Whether somebody waits for time alone: who has been woken is not there yet, and counts as awake."""
        return any(not end.done() and not event.is_set() for end, event in self._waits.items())

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(0.001)
            self._sleepers = sorted(sleeper for sleeper in self._sleepers if not sleeper[2].done())
            if self._sleepers and self._is_waited() and not self.is_busy():
                self.time, _number, end = self._sleepers.pop(0)
                end.set_result(None)

    async def stop(self) -> None:
        if self._going is not None:
            self._going.cancel()
            await asyncio.gather(self._going, return_exceptions=True)


class Watched(S3Destination):
    """The destination under test; notes when each delivery began."""

    def __init__(self, settings: S3Settings, clock: Patient) -> None:
        super().__init__(settings)
        self.begun: list[float] = []
        self.failed = 0
        self._time = clock

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        self.begun.append(self._time.time)
        try:
            await self._deliver(upload, blobs, limiter)
        except ForwarderError:
            self.failed += 1
            raise

    async def _deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        await super().deliver(upload, blobs, limiter)

    def tries(self, start_h: float, end_h: float) -> list[float]:
        return [time for time in self.begun if start_h * HOUR_S <= time < end_h * HOUR_S]


class Hasty(Watched):
    """The negative control: says that it arrived when it has only begun."""

    async def _deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        async def later() -> None:
            with suppress(ForwarderError):
                await S3Destination.deliver(self, upload, blobs, limiter)

        self._hurried = [*getattr(self, "_hurried", []), asyncio.create_task(later())]

    async def close(self) -> None:
        await asyncio.gather(*self._hurried)
        await super().close()


@dataclass
class Plant:
    """A spool with its supervisor, the way to the store, and what was put."""

    spool: Spool
    there: Watched
    link: Connection
    supervisor: Supervisor
    clock: Patient
    proxy: FaultProxy
    front: Front
    store: Store
    bucket: str
    put: list[str] = field(default_factory=list)

    def capture(self, count: int, *, large: bool = False) -> None:
        """Put captures of each model, every second with an image, and seal them."""
        for _ in range(count):
            for model in MODELS:
                key = f"{model}-{len(self.put):05}"
                image = LARGE if large else IMAGE + key.encode() if len(self.put) % 4 < 2 else b""
                self.spool.put(entry(key, model, image=image))
                self.put.append(key)
        for run in self.spool.unsealed():
            self.spool.seal(run, 10, 8 * 1024 * 1024)

    async def work(self, hours: float) -> None:
        """Let the line work for some hours: a few captures every half hour."""
        until_s = self.clock.time + hours * HOUR_S
        while self.clock.time < until_s:
            await asyncio.to_thread(self.capture, 2)
            self.supervisor.notify()
            await self.clock.sleep(min(HOUR_S / 2, hours * HOUR_S))

    def waiting(self) -> int:
        return self.spool.status().records

    async def drained(self) -> None:
        await until(lambda: not self.waiting())

    def faults(self) -> list[str]:
        """Return all that is not as it must be at the store."""
        counts = self.store.event_ids(self.bucket)
        found = [f"{key} is there {counts[key]} times" for key in self.put if counts[key] != 1]
        found += [f"{key} was never put" for key in counts if key not in set(self.put)]
        order = defaultdict(list)
        for path in self.front.stored:
            if path.endswith(".jsonl"):
                order[path.split("/line/")[1].split("/")[0]].append(path)
        found += [f"{model} came out of order" for model, paths in order.items() if paths != sorted(paths)]
        return found + [f"left half done: {key}" for key in self.store.half_done(self.bucket)]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    server = Store()
    yield server
    server.close()


@asynccontextmanager
async def plant(
    store: Store, folder: Path, bucket: str, kind: Callable[[S3Settings, Patient], Watched] = Watched
) -> AsyncIterator[Plant]:
    store.make_bucket(bucket)
    front = Front(store.port)
    clock = Patient()
    try:
        async with FaultProxy(front.port) as proxy:
            with opened(folder) as spool:
                settings = {
                    "name": "cloud",
                    "bucket": bucket,
                    "endpoint_url": f"http://127.0.0.1:{proxy.port}",
                    "timeout_s": 2,
                    "multipart_bytes": 5 * 1024 * 1024,
                }
                there = kind(S3Settings.model_validate(settings), clock)
                spool.register([there.name])
                link = Connection("cloud", "store", required=False, first_s=FIRST_S, longest_s=LONGEST_S)
                supervisor = Supervisor(
                    spool,
                    there,
                    link,
                    policy=DeliveryPolicy(device="box", root="sme-capture", limiter=RateLimiter(None, clock)),
                    metrics=Metrics(CollectorRegistry()),
                    clock=clock,
                )
                clock.is_busy = lambda: bool(supervisor._under_way)
                task = asyncio.create_task(supervisor.run())
                try:
                    yield Plant(spool, there, link, supervisor, clock, proxy, front, store, bucket)
                finally:
                    supervisor.stop()
                    await asyncio.gather(task, return_exceptions=True)
                    await there.close()
                    await clock.stop()
    finally:
        front.close()


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


async def test_a_day_of_faults(store: Store, tmp_path: Path) -> None:
    async with plant(store, tmp_path / "spool", "day") as line:
        clock, there, proxy, front = line.clock, line.there, line.proxy, line.front
        chance = random.Random(7)  # noqa: S311 - where connections break

        async def answers(hours: float, answer: Answer) -> None:
            """Have the store answer so for some hours, and show that it is asked ever more seldom, then heal."""
            front.answer = lambda _asked: answer
            await line.work(hours)
            front.answer = lambda _asked: None

        async def breaks(hours: float, after: Callable[[], None]) -> None:
            after()
            await line.work(hours)
            proxy.mode, proxy.cut_after, proxy.cut_reply_after = "pass", None, None

        await line.work(0.2)
        await line.drained()

        start_h = clock.time / HOUR_S
        await proxy.down()
        await line.work(4)
        away = there.tries(start_h, start_h + 4)
        assert 4 * HOUR_S / LONGEST_S <= len(away) <= 4 * HOUR_S / (LONGEST_S / 2) + 15
        await proxy.up()
        await line.drained()

        start_h, before = clock.time / HOUR_S, len(front.asked)
        await answers(3, Answer(403, "AccessDenied"))
        assert 3 * HOUR_S / 900 <= len(front.asked) - before <= 3 * HOUR_S / 675 + 10
        assert "s3:PutObject" in line.link.detail
        await line.drained()

        before = len(there.begun)
        await answers(2, Answer(503, "SlowDown", headers={"Retry-After": "900"}))
        gaps = [
            later - sooner for sooner, later in zip(there.begun[before + 1 :], there.begun[before + 2 :], strict=False)
        ]
        assert gaps
        assert min(gaps) > 899
        await line.drained()

        await breaks(2, lambda: setattr(proxy, "cut_after", chance.randrange(20_000, 60_000)))
        await line.drained()
        for answer in (
            Answer(404, "NoSuchBucket"),
            Answer(500, "InternalError"),
            Answer(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
            Answer(403, "RequestTimeTooSkewed"),
            Answer(400, "SomethingNew"),
        ):
            await answers(2, answer)
        await line.drained()

        await asyncio.to_thread(line.capture, 1, large=True)
        await breaks(1, lambda: setattr(proxy, "cut_after", 5_600_000))  # in the second part
        await breaks(0.25, lambda: setattr(proxy, "cut_reply_after", 30))  # it arrived, and we do not hear of it
        await line.drained()
        before, proxy.mode = there.failed, "half-open"  # it arrives, and nobody answers
        await asyncio.to_thread(line.capture, 1)
        await until(lambda: there.failed > before)
        proxy.mode, proxy.delay_s = "pass", 0.002
        await line.work(0.2)
        await line.drained()
        assert clock.time > 20 * HOUR_S
        assert proxy.cuts > 5
        assert line.faults() == []
        assert len(line.store.references("day")) > len(line.put) / 3


async def test_a_store_that_refuses_one_batch_gets_the_others(store: Store, tmp_path: Path) -> None:
    async with plant(store, tmp_path / "spool", "one-refused") as line:
        line.front.answer = lambda asked: Answer(400, "EntityTooLarge") if "spindle-00000" in asked.path else None
        await asyncio.to_thread(line.capture, 1)
        await asyncio.to_thread(line.capture, 1)
        await until(lambda: len(line.spool.dead_letters("cloud")) == 1)
        await until(lambda: line.waiting() == 1)
        line.front.answer = lambda _asked: None
        line.front.stored.clear()
        assert await asyncio.to_thread(line.spool.retry, "cloud") == 1
        await line.drained()
        assert line.faults() == []


async def test_the_harness_sees_a_destination_that_confirms_too_early(store: Store, tmp_path: Path) -> None:
    async with plant(store, tmp_path / "spool", "hasty", Hasty) as line:
        await asyncio.to_thread(line.capture, 2)
        await line.drained()
        await line.proxy.down()
        await asyncio.to_thread(line.capture, 2)
        await line.drained()
    assert any("is there 0 times" in fault for fault in line.faults())
