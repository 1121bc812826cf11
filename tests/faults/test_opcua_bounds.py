"""What a bridge keeps while parts come without end and nobody takes the requests: bounded, in memory and in tasks."""

import asyncio
import gc
import time
import tracemalloc
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from lineside.bus import Bus
from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.contract import CameraSource
from lineside.settings import BusSettings
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.parts import Answer
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.trigger_worker import TriggerWorker
from lineside_opcua_bridge.ticker import FairLock
from tests.support.waiting import until

HOUR = 3600
"""Parts of an hour at one a second."""


class Away(MemoryBus):
    """A broker that takes nothing: who publishes waits."""

    async def publish(self, topic: str, payload: bytes, **more: Any) -> None:
        del topic, payload, more
        await asyncio.Event().wait()


def station_of(bus: Bus, pending: PendingRequests, registry: CollectorRegistry, **changes: Any) -> TriggerWorker:
    about = {
        "name": "station-1",
        "when": {"kind": "counter", "node": "alias=/press/count"},
        "debounce_ms": 0,
        "station": "station-1",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": "station-1"},
        "deadline_ms": 100,
        "sample": {"part_id": "alias=/press/part"},
    }
    settings = TriggerSettings.model_validate(about | changes)
    return TriggerWorker(
        settings,
        CameraSource(camera="station-1"),
        bus=bus,
        topics=BusSettings(),
        pending=pending,
        metrics=Metrics(registry),
        grace_s=0.1,
        backlog=256,
        fair_lock=FairLock(),
        on_outcome=lambda _outcome: None,
    )


def sample(value: Any) -> Sample:
    now = datetime.now(UTC)
    return Sample(value, "good", now, now, now, time.monotonic())


def accepted(registry: CollectorRegistry) -> float:
    labels = {"trigger": "station-1", "kind": "accepted"}
    return registry.get_sample_value("lineside_opcua_bridge_triggers_total", labels) or 0.0


async def feed(station: TriggerWorker, first: int, count: int) -> None:
    for number in range(first, first + count):
        station.receive(None, "sample.part_id", sample(f"P-{number}"))
        station.receive(None, "trigger", sample(number))
        if number % 50 == 0:
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)


async def settle(pending: PendingRequests, registry: CollectorRegistry, count: int) -> None:
    """Wait until so many parts were taken from the station's queue, and none of them waits any more."""
    await until(lambda: not pending.open and accepted(registry) >= count)


async def test_while_the_broker_is_away_neither_tasks_nor_parts_pile_up() -> None:
    pending = PendingRequests()
    registry = CollectorRegistry()
    station = station_of(Away(MemoryBroker()), pending, registry, overrun="queue", overrun_limit=8)
    running = asyncio.create_task(station.run())
    most = 0
    for start in range(0, HOUR, 100):
        await feed(station, start, 100)
        most = max(most, len(asyncio.all_tasks()))
        assert len(pending.open) <= 8
    assert most <= 8 + 4 + 8, "one task a part that waits, and those just cancelled"
    await settle(pending, registry, HOUR - 1)
    await asyncio.sleep(0)
    assert accepted(registry) == HOUR - 1
    assert len(asyncio.all_tasks()) <= 3
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_hour_of_parts_leaves_no_memory_behind() -> None:
    pending = PendingRequests()
    broker = MemoryBroker()
    bus = MemoryBus(broker)
    registry = CollectorRegistry()
    station = station_of(bus, pending, registry, overrun="queue", overrun_limit=8)
    async with bus:
        running = asyncio.create_task(station.run())

        async def hour(first: int) -> None:
            for start in range(first, first + HOUR, 50):
                await feed(station, start, 50)
                for request_id in list(pending.open):
                    station.take_answer(request_id, Answer("pass", 1.0, "result", "as told"))
                broker.published.clear()
            await settle(pending, registry, first + HOUR - 1)

        await hour(0)
        await hour(HOUR)  # what remembers a bounded number of requests is full
        tracemalloc.start()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await hour(2 * HOUR)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert accepted(registry) == 3 * HOUR - 1
    # What was there before is not counted and is replaced meanwhile: 4,096 closed requests take about 1 MB.
    assert grown < 2_500_000, f"{grown} bytes more after {HOUR} parts"


def test_the_measure_sees_what_is_kept() -> None:
    """Negative control: an hour of parts that are all kept is more than the bound."""
    tracemalloc.start()
    kept = [(sample(f"P-{number}"), bytes(600)) for number in range(HOUR)]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == HOUR
    assert size > 2_500_000
