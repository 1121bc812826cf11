"""What happens at a station's bounds; nothing is connected here."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.connections import Connection
from lineside.contract import CameraSource
from lineside.settings import BusSettings
from lineside_opcua_bridge.binding import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.parts import Answer
from lineside_opcua_bridge.plc import Plc
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.session import Session
from lineside_opcua_bridge.settings import OpcuaBridgeSettings, TriggerSettings
from lineside_opcua_bridge.station import Pending, Station
from lineside_opcua_bridge.values import Tags

NODE = ua.NodeId("x", 1)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def pending() -> Pending:
    return Pending()


@pytest.fixture
def station(registry: CollectorRegistry, pending: Pending) -> Station:
    settings = TriggerSettings.model_validate(
        {
            "name": "station-1",
            "when": {"kind": "edge", "node": "nsu=u;s=present"},
            "station": "station-1",
            "model": "surface-defect",
            "source": {"kind": "camera", "camera": "station-1"},
            "write_back": {"verdict": "nsu=u;s=verdict", "done": "nsu=u;s=done"},
        }
    )
    return Station(
        settings,
        CameraSource(camera="station-1"),
        bus=MemoryBus(MemoryBroker()),
        topics=BusSettings(),
        pending=pending,
        metrics=Metrics(registry),
        grace_s=1.0,
        backlog=16,
    )


def value(content: object) -> Sample:
    return Sample(content, "good", None, None, datetime(2026, 1, 1, tzinfo=UTC), 0.0)


def counted(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(f"lineside_opcua_bridge_{name}", {"trigger": "station-1"} | labels) or 0.0


async def test_values_above_the_backlog_are_dropped_counted_and_doubted(
    station: Station, registry: CollectorRegistry
) -> None:
    session = Session(OpcuaBridgeSettings(), "bench", lambda _result: None)
    binding = Binding(session, (), {"trigger": NODE}, {"verdict": NODE, "done": NODE})
    station.bound(binding)
    for number in range(20):
        station.value(binding, "trigger", value(number % 2 == 0))
    assert counted(registry, "overflow_total", where="backlog") == 4
    assert station._mailbox.qsize() == 17  # the values that fit, and one doubt for all that did not


async def test_a_gap_in_the_notifications_makes_every_station_look(station: Station) -> None:
    def notification(number: int) -> ua.PublishResult:
        change = ua.DataChangeNotification(MonitoredItems=[])
        message = ua.NotificationMessage(SequenceNumber=number, NotificationData=[change])
        return ua.PublishResult(SubscriptionId=1, NotificationMessage=message)

    link = Connection("opcua", "opc.tcp://127.0.0.1:4840")
    plc = Plc(OpcuaBridgeSettings(), "bench", link, [(station, Connection("trigger", "x"))])
    session = Session(OpcuaBridgeSettings(), "bench", plc._published)
    station.bound(Binding(session, (), {"trigger": NODE}, {"verdict": NODE, "done": NODE}))
    for number in (4294967294, 4294967295, 1, 2):
        plc._published(notification(number))
    assert station._mailbox.empty()
    plc._published(notification(4))
    assert station._mailbox.qsize() == 1


async def test_tags_that_make_the_request_too_large_are_left_out(
    station: Station, registry: CollectorRegistry, pending: Pending
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sample = Sample(value=True, quality="good", source=now, server=now, received=now, ticks=0.0)
    tags: dict[str, Any] = {f"{'tag' * 30}-{number}": "x" * 128 for number in range(32)}
    station._ask(sample, Tags(part_id="P-1", tags=tags))
    assert counted(registry, "sample_failures_total", reason="message_size") == 32
    assert list(pending.stations.values()) == [station]


async def test_an_answer_that_was_overtaken_by_a_newer_part_is_not_taken(station: Station, pending: Pending) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    sample = Sample(value=True, quality="good", source=now, server=now, received=now, ticks=0.0)
    station._ask(sample, Tags(part_id="P-1"))
    (first,) = pending.stations
    station._ask(sample, Tags(part_id="P-2"))
    (second,) = pending.stations
    await station._decide(first, Answer("pass", 0.9, "result", "good"))
    assert station._part is not None
    assert (station._part.request_id, station._part.answer) == (second, None)
    assert pending.closed.kind(first) == "late"
