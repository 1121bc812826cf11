"""One suite over every transport of the bus: what all of them do, and what each does or not by its `promises`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.bus import Message, Subscription
from lineside.errors import BacklogFull
from tests.support.buses import Transport, entered, transports
from tests.support.mqtt_broker import MOSQUITTO
from tests.support.waiting import HANG_S

KINDS = [
    "memory",
    pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")),
    "amqtt",
    "classic",
    "lite",
]


@pytest.fixture(params=KINDS)
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Transport]:
    yield from transports(request.param, tmp_path)


async def take(subscription: Subscription, count: int) -> list[Message]:
    """Take and acknowledge so many messages."""
    taken: list[Message] = []
    async with asyncio.timeout(HANG_S):
        async for message in subscription:
            message.ack()
            taken.append(message)
            if len(taken) == count:
                break
    return taken


def payloads(messages: list[Message]) -> list[bytes]:
    return [message.payload for message in messages]


async def test_messages_of_one_publisher_come_in_their_order(transport: Transport) -> None:
    async with (
        entered(transport, "taker", "t/1") as (_, [subscription]),
        entered(transport, "giver") as (giver, _),
    ):
        taking = asyncio.create_task(take(subscription, 50))
        for number in range(50):
            await giver.publish("t/1", str(number).encode())
        assert payloads(await taking) == [str(number).encode() for number in range(50)]


async def test_payloads_are_bytes_and_come_as_they_were_sent(transport: Transport) -> None:
    sent = [bytes(range(256)), b"{", "Prüfung".encode(), bytes(6144), b"x"]
    async with entered(transport, "taker", "t/1") as (bus, [subscription]):
        for each in sent:
            await bus.publish("t/1", each)
            assert payloads(await take(subscription, 1)) == [each]


async def test_topics_are_kept_apart_and_own_messages_come_too(transport: Transport) -> None:
    async with entered(transport, "taker", "t/1", "t/2") as (bus, [first, second]):
        await bus.publish("t/2", b"2")
        await bus.publish("t/1", b"1")
        [one], [two] = await take(first, 1), await take(second, 1)
        assert (one.topic, one.payload, two.topic, two.payload) == ("t/1", b"1", "t/2", b"2")


async def test_the_first_message_of_a_subscription_says_that_others_may_be_missing(transport: Transport) -> None:
    async with entered(transport, "taker", "t/1") as (bus, [subscription]):
        for _ in range(2):
            await bus.publish("t/1", b"x")
        assert [message.after_gap for message in await take(subscription, 2)] == [True, False]


async def test_acknowledging_twice_changes_nothing(transport: Transport) -> None:
    async with entered(transport, "taker", "t/1") as (bus, [subscription]):
        await bus.publish("t/1", b"1")
        [message] = await take(subscription, 1)
        message.ack()
        await bus.publish("t/1", b"2")
        assert payloads(await take(subscription, 1)) == [b"2"]


async def test_what_waits_to_be_sent_is_bounded_and_is_sent_later(transport: Transport) -> None:
    async with entered(transport, "taker", "t/1") as (bus, [subscription]):
        transport.freeze()
        waiting = [
            asyncio.create_task(bus.publish("t/1", str(number).encode())) for number in range(transport.max_backlog)
        ]
        await asyncio.sleep(0)  # each has begun
        with pytest.raises(BacklogFull, match="messages wait"):
            await bus.publish("t/1", b"one too many")
        transport.thaw()
        async with asyncio.timeout(HANG_S):
            await asyncio.gather(*waiting)
        assert payloads(await take(subscription, len(waiting))) == [b"0", b"1", b"2"]


async def test_who_comes_later_gets_what_was_retained_or_nothing(transport: Transport) -> None:
    async with entered(transport, "giver") as (giver, _):
        await giver.publish("t/1", b"old", retain=True)
        await giver.publish("t/1", b"retained", retain=True)
        async with entered(transport, "taker", "t/1") as (_, [subscription]):
            await giver.publish("t/1", b"fence")
            expected = [b"retained", b"fence"] if transport.promises.retains else [b"fence"]
            assert payloads(await take(subscription, len(expected))) == expected


@pytest.mark.parametrize("transport", [kind for kind in KINDS if kind != "memory"], indirect=True)
async def test_who_is_away_gets_what_came_meanwhile_or_nothing(transport: Transport) -> None:
    """In memory nobody is ever away."""
    async with entered(transport, "giver") as (giver, _):
        async with entered(transport, "taker", "t/1"):
            pass
        await giver.publish("t/1", b"meanwhile")
        async with entered(transport, "taker", "t/1") as (_, [subscription]):
            await giver.publish("t/1", b"fence")
            expected = [b"meanwhile", b"fence"] if transport.promises.keeps else [b"fence"]
            assert payloads(await take(subscription, len(expected))) == expected
