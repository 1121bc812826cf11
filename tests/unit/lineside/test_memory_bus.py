import asyncio

import pytest

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.errors import BacklogFull


async def test_unacknowledged_messages_come_again_after_an_outage() -> None:
    broker = MemoryBroker()
    bus = MemoryBus(broker)
    subscription = bus.subscribe("t")
    await bus.publish("t", b"1")
    await bus.publish("t", b"2")
    messages = aiter(subscription)
    (await anext(messages)).ack()
    await anext(messages)
    broker.online = False
    broker.online = True
    assert (await anext(messages)).payload == b"2"


async def test_publishing_waits_for_the_broker_within_the_bound() -> None:
    broker = MemoryBroker()
    bus = MemoryBus(broker, max_backlog=1)
    broker.online = False
    waiting = asyncio.create_task(bus.publish("t", b"1"))
    await asyncio.sleep(0)
    with pytest.raises(BacklogFull):
        await bus.publish("t", b"2")
    broker.online = True
    await waiting
    assert broker.published == [("t", b"1")]
