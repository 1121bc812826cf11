"""Who hears of what, in which order; and a server that wants fewer Publish requests gets fewer."""

import asyncio
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from prometheus_client import CollectorRegistry

from lineside_opcua_bridge.link.dispatcher import NAMESPACES, Dispatcher, MonitoredItem
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.publish_loop import PublishLoop
from lineside_opcua_bridge.link.publishing import Message, Publication
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.link.subscriber import EventSelection, ItemRequest, base_field

NODE = ua.NodeId("x", 1)
BASE_EVENT = ua.NodeId(2041)


class Told:
    name = "station-1"

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def receive(self, _binding: Any, role: str, sample: Any) -> None:
        self.heard.append((role, sample.value, sample.quality))

    def mark_gap(self, role: str | None) -> None:
        self.heard.append(("doubt", role))


def delivery_to(station: Told, *roles: str, event: EventSelection | None = None) -> Dispatcher:
    delivery = Dispatcher(LinkMetrics(CollectorRegistry()), station.heard.append)
    for handle, role in enumerate(roles, 1):
        delivery.items[handle] = MonitoredItem(station, None, ItemRequest(role, NODE, event=event))  # type: ignore[arg-type]
    return delivery


def test_a_trigger_is_handed_on_after_what_changed_with_it() -> None:
    station = Told()
    delivery = delivery_to(station, "trigger", "sample.part_id", "request", "window.temperature")
    delivery.deliver(
        Message(
            1, [(1, True, 0, None, None), (2, "P-1", 0, None, None), (3, True, 0, None, None), (4, 7, 0, None, None)]
        )
    )
    assert [role for role, _value, _quality in station.heard] == [
        "sample.part_id",
        "window.temperature",
        "trigger",
        "request",
    ]


def test_the_status_says_how_good_a_value_is_and_whether_some_are_missing_before_it() -> None:
    station = Told()
    delivery = delivery_to(station, "window.a")
    codes = (0, 0x480, 0x40000000, 0x80340000)
    delivery.deliver(Message(1, [(1, code, code, None, None) for code in codes]))
    assert station.heard == [
        ("window.a", 0, "good"),
        ("doubt", "window.a"),
        ("window.a", 0x480, "good"),
        ("window.a", 0x40000000, "uncertain"),
        ("window.a", 0x80340000, "bad"),
    ]


def test_what_nobody_watches_any_more_finds_nobody_and_the_namespaces_find_the_link() -> None:
    station = Told()
    delivery = delivery_to(station, "window.a")
    delivery.deliver(Message(1, [(99, 1, 0, None, None), (NAMESPACES, ["urn:a"], 0, None, None)]))
    assert station.heard == [["urn:a"]]


def test_an_event_that_says_that_events_were_dropped_is_a_doubt() -> None:
    station = Told()
    selection = EventSelection(BASE_EVENT, {"part": base_field("PartId")}, 1, None)
    delivery = delivery_to(station, "trigger", event=selection)
    text = ua.LocalizedText("press jammed")
    delivery.deliver(
        Message(
            1,
            events=[
                (1, [b"1", BASE_EVENT, "press", None, None, text, 500, "P-7"]),
                (1, [b"2", ua.NodeId(3035), "server", None, None, text, 1, None]),
            ],
        )
    )
    fields = {"SourceName": "press", "Message": "press jammed", "Severity": 500, "part": "P-7"}
    assert station.heard == [("trigger", fields, "good"), ("doubt", "trigger")]


class Server:
    """A session whose server takes no more than `most` Publish requests at once."""

    def __init__(self, most: int) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting: list[asyncio.Future[bytes]] = []
        self.acknowledged: list[int] = []
        self._most = most

    async def publish(self, acknowledged: list[ua.SubscriptionAcknowledgement]) -> bytes:
        self.acknowledged += [each.SequenceNumber for each in acknowledged]
        if len(self.waiting) >= self._most:
            raise CallFailed("publishing: too many", reason="BadTooManyPublishRequests")
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]

    def say(self, number: int) -> None:
        response = ua.PublishResponse()
        response.Parameters.SubscriptionId = ua.UInt32(7)
        response.Parameters.NotificationMessage.SequenceNumber = ua.UInt32(number)
        response.Parameters.NotificationMessage.NotificationData = [ua.DataChangeNotification([])]
        self.waiting.pop(0).set_result(struct_to_binary(response))

    def lose(self, reason: str) -> None:
        self.lost.set_result(reason)


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_requests_wait_at_the_server_and_what_came_is_acknowledged() -> None:
    server, came = Server(most=100), list[Publication]()
    publishing = PublishLoop(server, came.append, LinkMetrics(CollectorRegistry()))  # type: ignore[arg-type]
    publishing.serve(3)
    await turns()
    assert len(server.waiting) == 5
    server.say(1)
    server.say(2)
    await turns()
    assert [each.message.number for each in came] == [1, 2]
    assert server.acknowledged == [1, 2]
    assert len(server.waiting) == 5
    publishing.stop()
    await turns()


async def test_a_server_that_takes_fewer_requests_gets_fewer() -> None:
    server, came = Server(most=2), list[Publication]()
    publishing = PublishLoop(server, came.append, LinkMetrics(CollectorRegistry()))  # type: ignore[arg-type]
    publishing.serve(3)
    await turns()
    assert len(server.waiting) == 2
    assert not server.lost.done()
    publishing.serve(10)
    await turns()
    assert len(server.waiting) == 2
    publishing.stop()
    await turns()


async def test_bytes_that_are_no_answer_lose_the_session_with_a_reason() -> None:
    server = Server(most=5)
    publishing = PublishLoop(server, lambda _publication: None, LinkMetrics(CollectorRegistry()))  # type: ignore[arg-type]
    publishing.serve(1)
    await turns()
    server.waiting[0].set_result(b"\x01\x00\x3d\x03 and then nothing of use")
    await turns()
    assert "cannot be read" in server.lost.result()
    publishing.stop()
    await turns()


@pytest.mark.parametrize("reason", ["connection", "BadSessionIdInvalid"])
async def test_any_other_failure_loses_the_session(reason: str) -> None:
    server = Server(most=5)
    publishing = PublishLoop(server, lambda _publication: None, LinkMetrics(CollectorRegistry()))  # type: ignore[arg-type]
    publishing.serve(1)
    await turns()
    server.waiting[0].set_exception(CallFailed("publishing: gone", reason=reason))
    await turns()
    assert server.lost.result() == "publishing: gone"
    publishing.stop()
    await turns()
