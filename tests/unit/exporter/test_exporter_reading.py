import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from structlog.testing import capture_logs

from lineside.connections import State
from lineside.service import Service
from lineside_exporter.errors import SourceAway
from lineside_exporter.exposition import Bounds
from lineside_exporter.reading import Reader
from lineside_exporter.reading_cache import ReadingCache
from lineside_exporter.single_flight import SingleFlight
from tests.support.waiting import HANG_S, until

BOUNDS = Bounds(series=10, label_characters=100)


class Scripted:
    """A source that does one thing after the other, and the last one for ever."""

    name = "scripted"
    target = "a script"
    period_s = 0.001

    def __init__(self, *steps: Callable[[], Awaitable[Sequence[Metric]]], timeout_s: float = 5.0) -> None:
        self.steps = list(steps)
        self.timeout_s = timeout_s

    async def read(self) -> Sequence[Metric]:
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        return await step()


def says(value: float) -> Callable[[], Awaitable[Sequence[Metric]]]:
    async def step() -> Sequence[Metric]:
        return [GaugeMetricFamily("said", "What it said.", value=value)]

    return step


def raises(error: Exception) -> Callable[[], Awaitable[Sequence[Metric]]]:
    async def step() -> Sequence[Metric]:
        raise error

    return step


async def hang() -> Sequence[Metric]:
    await asyncio.Event().wait()
    return []


@asynccontextmanager
async def read(source: Scripted) -> AsyncIterator[tuple[Service, ReadingCache]]:
    service = Service("exporter")
    cache = ReadingCache(service.registry)
    task = asyncio.create_task(Reader(source, service, cache, BOUNDS).run())
    try:
        yield service, cache
        assert not task.done(), "a reader ends by itself never"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def shown(cache: ReadingCache) -> list[str]:
    return [line for families in cache.readings() for family in families for line in family.lines]


async def test_what_a_source_says_is_shown_until_it_says_something_else() -> None:
    async with read(Scripted(says(1), says(2))) as (service, cache):
        await until(lambda: shown(cache) == ["said 2.0"])
        assert service.connections["scripted"].state is State.ONLINE
        assert not service.connections["scripted"].required


def wrapped() -> httpx.ConnectError:
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


@pytest.mark.parametrize(
    ("step", "detail"),
    [
        (raises(SourceAway("the driver is gone")), "the driver is gone"),
        (raises(wrapped()), "Connection refused"),
        (raises(httpx.RemoteProtocolError("cut off")), "RemoteProtocolError: cut off"),
        (hang, "no answer within 0.05 s"),
        (raises(ZeroDivisionError("a fault of ours")), "a fault of ours"),
    ],
)
async def test_a_source_that_fails_is_absent_and_says_why(
    step: Callable[[], Awaitable[Sequence[Metric]]], detail: str
) -> None:
    async with read(Scripted(says(1), step, timeout_s=0.05 if step is hang else 5.0)) as (service, cache):
        link = service.connections["scripted"]
        await until(lambda: link.state is State.BACKOFF)
        assert link.detail == detail
        assert shown(cache) == []
        assert service.failed is None


async def test_a_fault_of_a_source_is_said_once_with_where_it_is() -> None:
    with capture_logs() as logs:
        async with read(Scripted(raises(ZeroDivisionError("a fault of ours")))) as (service, _cache):
            await until(lambda: service.connections["scripted"].attempts >= 2)
    faults = [line for line in logs if line["event"] == "a source fails in a way of its own"]
    assert [line["source"] for line in faults] == ["scripted"]
    assert faults[0]["exc_info"]


async def test_a_call_that_hangs_is_left_behind_and_none_is_begun_beside_it() -> None:
    go_on, begun = threading.Event(), threading.Event()

    def stuck() -> str:
        begun.set()
        go_on.wait(HANG_S)
        return "late"

    flight = SingleFlight("test")
    first = asyncio.create_task(flight.call(stuck))
    await until(begun.is_set)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    with pytest.raises(SourceAway, match="test: the last call has not returned yet"):
        await flight.call(lambda: "beside")
    go_on.set()

    async def again() -> bool:
        try:
            return await flight.call(lambda: "again") == "again"
        except SourceAway:
            return False

    await until(again)


async def test_what_a_call_raises_reaches_who_asked() -> None:
    flight = SingleFlight("test")

    def fail() -> None:
        raise ValueError("no")

    for _again in range(2):
        with pytest.raises(ValueError, match="no"):
            await flight.call(fail)
