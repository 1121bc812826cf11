"""What only the bus over Greengrass IPC has to get right, on the bench's IPC server in both manners."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from lineside.bus import Subscription
from lineside.bus.ipc import MAX_PAYLOAD_BYTES, IpcBus
from lineside.connections import Connection, State
from lineside.errors import BusError, MessageRefused
from lineside.greengrass.client import Client
from lineside.settings import BusSettings
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from tests.support.greengrass import COMPONENT, access_control, client_of, core_device, identity
from tests.support.waiting import HANG_S, until


@pytest.fixture(params=[CLASSIC, LITE], ids=lambda manner: manner.name)
def server(request: pytest.FixtureRequest) -> Iterator[IpcServer]:
    with core_device(request.param) as running:
        yield running


class Life:
    """A bus in a service's life: its connection, its client, and why the service failed."""

    def __init__(self, server: IpcServer, *, answer_s: float = HANG_S, **settings: Any) -> None:
        self.client = Client(identity(server))
        self.link = Connection("bus", "greengrass ipc", first_s=0.02, longest_s=0.05)
        self.failures: list[str] = []
        self.registry = CollectorRegistry()
        self.bus = IpcBus(
            BusSettings(transport="ipc", **settings),
            ipc=self.client,
            name="test",
            connection=self.link,
            registry=self.registry,
            failed=self.failures.append,
            answer_s=answer_s,
        )


@asynccontextmanager
async def living(server: IpcServer, *topics: str, **options: Any) -> AsyncIterator[tuple[Life, list[Subscription]]]:
    life = Life(server, **options)
    subscriptions = [life.bus.subscribe(topic) for topic in topics]
    try:
        async with life.bus:
            yield life, subscriptions
    finally:
        life.client.close()


async def take(subscription: Subscription, count: int = 1) -> list[tuple[bytes, bool]]:
    taken = []
    async with asyncio.timeout(HANG_S):
        async for message in subscription:
            taken.append((message.payload, message.after_gap))
            if len(taken) == count:
                break
    return taken


async def test_the_longest_message_goes_through_and_a_longer_one_is_refused_before_the_wire(server: IpcServer) -> None:
    topic = "ü" * 128  # 256 bytes, and each letter is six in JSON
    async with living(server, topic) as (life, [subscription]):
        await until(lambda: life.link.is_online)
        with pytest.raises(MessageRefused, match=r"6145 bytes on .* takes 6144 at most"):
            await life.bus.publish(topic, bytes(MAX_PAYLOAD_BYTES + 1))
        await life.bus.publish(topic, b"\xff" * MAX_PAYLOAD_BYTES)
        assert await take(subscription) == [(b"\xff" * MAX_PAYLOAD_BYTES, True)]
        assert [payload for _who, _topic, payload in server.messages] == [b"\xff" * MAX_PAYLOAD_BYTES]
        assert life.link.is_online


async def test_a_publish_that_the_recipe_does_not_allow_names_what_to_add(server: IpcServer) -> None:
    server.core.components[COMPONENT].configuration["accessControl"] = access_control(topics=("allowed",))
    async with living(server) as (life, _):
        await life.bus.publish("allowed", b"")
        with pytest.raises(MessageRefused) as refused:
            await life.bus.publish("other", b"")
        assert refused.value.what == f"{COMPONENT} may not use PublishToTopic on 'other'"
        added = json.loads(refused.value.remedy.partition(": ")[2])
        server.core.components[COMPONENT].configuration["accessControl"] = added
        await life.bus.publish("other", b"")
        assert life.failures == []


async def test_a_subscription_that_the_recipe_does_not_allow_is_a_state_until_it_is_allowed(server: IpcServer) -> None:
    server.core.components[COMPONENT].configuration["accessControl"] = access_control(topics=("t/2", "t/3"))
    async with living(server, "t/1", "t/2") as (life, [first, second]):
        await until(lambda: "may not use SubscribeToTopic on 't/1'" in life.link.detail)
        assert life.link.state is State.BACKOFF
        assert "accessControl" in life.link.detail
        await life.bus.publish("t/2", b"goes on")
        assert await take(second) == [(b"goes on", True)]
        server.core.components[COMPONENT].configuration["accessControl"] = access_control()
        await until(lambda: life.link.is_online)
        await life.bus.publish("t/1", b"now too")
        assert await take(first) == [(b"now too", True)]
        assert life.failures == []


async def test_a_refused_token_ends_the_service_with_the_reason(server: IpcServer) -> None:
    server.refuse_tokens = True
    async with living(server, "t") as (life, _):
        publishing = asyncio.create_task(life.bus.publish("t", b""))
        await until(lambda: life.failures)
        assert "refuses the token of com.lineside.Test" in life.failures[0]
        assert life.link.state is State.BACKOFF
        with pytest.raises(BusError, match="refuses the token") as ended:
            await publishing
        assert not ended.value.transient


async def test_a_missing_socket_ends_the_service_with_the_reason(server: IpcServer) -> None:
    server.stop()
    await until(lambda: not server.path.exists())
    async with living(server) as (life, _):
        await until(lambda: life.failures)
        assert f"no socket {server.path}" in life.failures[0]


async def test_the_end_of_the_connection_is_the_end_of_the_service_and_of_what_is_under_way(server: IpcServer) -> None:
    async with living(server, "t") as (life, _):
        await until(lambda: life.link.is_online)
        server.stall()
        publishing = asyncio.create_task(life.bus.publish("t", b""))
        await asyncio.sleep(0)
        server.drop()
        await until(lambda: life.failures)
        with pytest.raises(BusError) as lost:
            await publishing
        assert not lost.value.transient
        with pytest.raises(BusError, match="ended"):
            await life.bus.publish("t", b"")
        server.resume()
        assert (len(life.failures), life.link.state, server.connects) == (1, State.BACKOFF, 1)


async def test_a_nucleus_that_answers_nothing_counts_as_gone(server: IpcServer) -> None:
    async with living(server, answer_s=0.2) as (life, _):
        await until(lambda: life.link.is_online)
        server.stall()
        with pytest.raises(BusError, match=r"did not answer PublishToTopic within 0\.2 s"):
            await life.bus.publish("t", b"")
        assert "did not answer" in life.failures[0]


async def test_leaving_the_bus_is_no_failure_and_ends_its_subscriptions(server: IpcServer) -> None:
    async with living(server, "t") as (life, _):
        await until(lambda: life.link.is_online)
        assert len(server.local) == 1
    await until(lambda: len(server.local) == 0)
    assert life.failures == []


async def test_a_stream_that_the_nucleus_ends_is_begun_again_with_a_gap(server: IpcServer) -> None:
    async with living(server, "t") as (life, [subscription]):
        await until(lambda: life.link.is_online)
        for each in (b"1", b"2"):
            await life.bus.publish("t", each)
        assert await take(subscription, 2) == [(b"1", True), (b"2", False)]
        server.end_streams()
        await until(lambda: len(server.local) == 1)
        await until(lambda: life.link.is_online)
        await life.bus.publish("t", b"3")
        assert await take(subscription) == [(b"3", True)]
        assert life.failures == []


async def test_a_json_document_of_another_component_is_taken_as_its_text(server: IpcServer) -> None:
    server.core.add("com.other", {"accessControl": access_control("com.other")})
    async with living(server, "t") as (life, [subscription]):
        await until(lambda: life.link.is_online)
        with client_of(server, "com.other") as other:
            shape = other.shape
            document = shape("PublishMessage", json_message=shape("JsonMessage", message={"a": [1, "ü"]}))
            other.ask("PublishToTopic", topic="t", publish_message=document).result(HANG_S)
        [(payload, _gap)] = await take(subscription)
        assert json.loads(payload) == {"a": [1, "ü"]}


async def test_a_flood_fills_no_memory_and_leaves_a_known_hole(server: IpcServer) -> None:
    async with living(server, "t", max_inflight=3) as (life, [subscription]):
        await until(lambda: life.link.is_online)
        for number in range(10):
            server.publish("t", str(number).encode())
        await until(lambda: life.registry.get_sample_value("lineside_test_bus_dropped_messages_total") == 7)
        assert await take(subscription, 3) == [(b"0", True), (b"1", False), (b"2", False)]
        server.publish("t", b"after")
        assert await take(subscription) == [(b"after", True)]


async def test_who_subscribes_too_late_is_told(server: IpcServer) -> None:
    async with living(server) as (life, _):
        with pytest.raises(RuntimeError, match="before the bus is entered"):
            life.bus.subscribe("t")
