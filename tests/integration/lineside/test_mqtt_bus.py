import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from lineside.bus.mqtt import MqttBus, MqttMessage, MqttSubscription
from lineside.connections import Connection, State
from lineside.errors import BacklogFull
from tests.support.waiting import HANG_S, until


def connection(broker) -> Connection:
    return Connection("mqtt", f"mqtt://127.0.0.1:{broker.port}", first_s=0.05, longest_s=0.2)


@asynccontextmanager
async def bus(broker, client: str, *topics: str, **options) -> AsyncIterator[tuple[MqttBus, list[MqttSubscription]]]:
    link = connection(broker)
    made = MqttBus(broker.settings.model_copy(update=options), client=client, connection=link)
    subscriptions = [made.subscribe(topic) for topic in topics]
    async with made:
        await until(lambda: link.is_online)
        yield made, subscriptions


async def take(subscription: MqttSubscription, count: int) -> list[MqttMessage]:
    taken: list[MqttMessage] = []
    async with asyncio.timeout(HANG_S):
        async for message in subscription:
            taken.append(message)
            if len(taken) == count:
                break
    return taken


async def test_messages_arrive_in_order(broker) -> None:
    async with bus(broker, "taker", "t/1") as (_, [subscription]), bus(broker, "giver") as (giver, _):
        for number in range(50):
            await giver.publish("t/1", str(number).encode())
        messages = []
        async with asyncio.timeout(HANG_S):
            async for message in subscription:
                message.ack()
                messages.append(int(message.payload))
                if len(messages) == 50:
                    break
        assert messages == list(range(50))


async def test_what_is_not_acknowledged_comes_again(keeping_broker) -> None:
    async with bus(keeping_broker, "giver") as (giver, _):
        async with bus(keeping_broker, "taker", "t/1") as (_, [subscription]):
            for number in range(3):
                await giver.publish("t/1", str(number).encode())
            first, second, third = await take(subscription, 3)
            first.ack()
            third.ack()  # held back: MQTT wants acknowledgements in the order of arrival
            assert second.payload == b"1"
        async with bus(keeping_broker, "taker", "t/1") as (_, [subscription]):
            again = await take(subscription, 2)
            assert [message.payload for message in again] == [b"1", b"2"]
            for message in again:
                message.ack()
        async with bus(keeping_broker, "taker", "t/1") as (_, [subscription]):
            await giver.publish("t/1", b"fence")
            assert [message.payload for message in await take(subscription, 1)] == [b"fence"]


async def test_messages_published_while_the_taker_is_away_wait_in_the_broker(broker) -> None:
    async with bus(broker, "taker", "t/1"):
        pass
    async with bus(broker, "giver") as (giver, _):
        for number in range(5):
            await giver.publish("t/1", str(number).encode())
    async with bus(broker, "taker", "t/1") as (_, [subscription]):
        assert [message.payload for message in await take(subscription, 5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_need_not_be_kept_is_for_who_listens_and_for_nobody_who_comes_later(keeping_broker) -> None:
    async with bus(keeping_broker, "taker", "t/1") as (_, [subscription]), bus(keeping_broker, "giver") as (giver, _):
        await giver.publish("t/1", b"now", keep=False)
        assert [message.payload for message in await take(subscription, 1)] == [b"now"]
    async with bus(keeping_broker, "giver") as (giver, _):
        for _ in range(50):
            await giver.publish("t/1", b"meanwhile", keep=False)
    async with bus(keeping_broker, "taker", "t/1") as (_, [subscription]), bus(keeping_broker, "giver") as (giver, _):
        await giver.publish("t/1", b"fence")
        assert [message.payload for message in await take(subscription, 1)] == [b"fence"]


async def test_a_killed_broker_is_waited_for_and_the_publish_still_arrives(broker) -> None:
    link = connection(broker)
    subject = MqttBus(broker.settings, client="both", connection=link)
    subscription = subject.subscribe("t/1")
    async with subject:
        await until(lambda: link.is_online)
        broker.kill()
        await until(lambda: link.state is State.BACKOFF)
        publishing = asyncio.create_task(subject.publish("t/1", b"patient"))
        broker.start()
        async with asyncio.timeout(HANG_S):
            await publishing
        [message] = await take(subscription, 1)
        assert message.payload == b"patient"
        assert link.is_online


async def test_the_first_message_on_a_connection_says_that_others_may_be_missing(broker) -> None:
    link = connection(broker)
    subject = MqttBus(broker.settings, client="both", connection=link)
    subscription, other = subject.subscribe("t/1"), subject.subscribe("t/2")
    async with subject:
        await until(lambda: link.is_online)
        for topic in ("t/1", "t/1", "t/2"):
            await subject.publish(topic, b"before")
        before = await take(subscription, 2) + await take(other, 1)
        for message in before:
            message.ack()
        broker.kill()
        await until(lambda: link.state is State.BACKOFF)
        broker.start()
        await until(lambda: link.is_online)
        await subject.publish("t/1", b"after")
        await subject.publish("t/1", b"after")
        after = [message for message in await take(subscription, 2) if message.payload == b"after"]
    assert [message.after_gap for message in before] == [True, False, True]
    assert [message.after_gap for message in after[-2:]] == [True, False]


async def test_who_keeps_no_session_leaves_nothing_in_the_broker(broker) -> None:
    def visitor() -> MqttBus:
        return MqttBus(broker.settings, client="visitor", connection=connection(broker), keep=False)

    async with bus(broker, "giver") as (giver, _):
        for visit in (b"first", b"second"):
            coming = visitor()
            subscription = coming.subscribe("t/1")
            async with coming:
                await until(lambda coming=coming: coming._connection.is_online)
                await giver.publish("t/1", visit)
                [message] = await take(subscription, 1)
                message.ack()
                assert message.payload == visit
            await giver.publish("t/1", b"nobody is there")


async def test_publishes_under_way_when_the_broker_dies_are_made_again(broker) -> None:
    link = connection(broker)
    subject = MqttBus(broker.settings, client="both", connection=link)
    subscription = subject.subscribe("t/1")
    async with subject:
        await until(lambda: link.is_online)
        broker.pause()
        publishing = [asyncio.create_task(subject.publish("t/1", str(number).encode())) for number in range(10)]
        await asyncio.sleep(0)  # each is sent now, none acknowledged
        broker.kill()
        await until(lambda: link.state is State.BACKOFF)
        broker.start()
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*publishing)
        assert {message.payload for message in await take(subscription, 10)} == {str(n).encode() for n in range(10)}


async def test_an_acknowledgement_of_a_lost_link_touches_nothing_of_the_next(broker) -> None:
    link = connection(broker)
    subject = MqttBus(broker.settings, client="both", connection=link)
    subscription = subject.subscribe("t/1")
    async with subject:
        await subject.publish("t/1", b"old")
        [old] = await take(subscription, 1)
        broker.kill()
        await until(lambda: not link.is_online)
        broker.start()
        await until(lambda: link.is_online)
        await subject.publish("t/1", b"new")
        old.ack()
        async with asyncio.timeout(HANG_S):
            async for message in subscription:
                message.ack()
                if message.payload == b"new":
                    break
        # Acknowledged in order and on this link only: a fence passes, nothing hangs.
        await subject.publish("t/1", b"fence")
        [fence] = await take(subscription, 1)
        assert fence.payload == b"fence"


async def test_the_backlog_is_bounded(broker) -> None:
    link = connection(broker)
    subject = MqttBus(broker.settings.model_copy(update={"max_backlog": 2}), client="giver", connection=link)
    broker.kill()
    async with subject:
        waiting = [asyncio.create_task(subject.publish("t/1", b"x")) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(BacklogFull, match=r"2 messages wait .* already\. see whether the broker runs"):
            await subject.publish("t/1", b"one too many")
        broker.start()
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*waiting)


async def test_a_refused_user_is_named(broker, tmp_path) -> None:
    secret = tmp_path / "password"
    secret.write_text("")
    link = connection(broker)
    settings = broker.settings.model_copy(update={"username": "x", "password_file": secret})
    async with MqttBus(settings, client="giver", connection=link):
        await until(lambda: "password_file" in link.detail)
        assert link.state is not State.ONLINE


async def test_two_clients_with_one_id_are_told_so(keeping_broker) -> None:
    links = [connection(keeping_broker), connection(keeping_broker)]
    told: set[str] = set()

    def is_told() -> bool:
        told.update(link.detail for link in links)
        return any("'lineside-twin' may be another client's id too: see bus.client_id_prefix" in text for text in told)

    first, second = (MqttBus(keeping_broker.settings, client="twin", connection=link) for link in links)
    async with first:
        await until(lambda: links[0].is_online)
        async with second:
            await until(is_told)


async def test_a_flood_of_messages_that_nobody_keeps_fills_no_memory_and_leaves_a_known_hole(keeping_broker) -> None:
    registry = CollectorRegistry()
    link = connection(keeping_broker)
    taker = MqttBus(
        keeping_broker.settings.model_copy(update={"max_backlog": 3}),
        client="taker",
        connection=link,
        registry=registry,
    )
    subscription = taker.subscribe("t/1")

    def dropped() -> float:
        return registry.get_sample_value("lineside_taker_bus_dropped_messages_total") or 0.0

    async with taker, bus(keeping_broker, "giver") as (giver, _):
        await until(lambda: link.is_online)
        for number in range(10):
            await giver.publish("t/1", str(number).encode(), keep=False)
        await until(lambda: dropped() == 7)
        taken = await take(subscription, 3)
        await giver.publish("t/1", b"after")
        [after] = await take(subscription, 1)
        after.ack()
    assert [message.payload for message in taken] == [b"0", b"1", b"2"]
    assert [message.after_gap for message in (*taken, after)] == [True, False, False, True]
