"""The bridge's outcomes on their way to the bus: in order, bounded, and in nobody's way."""

import asyncio

from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.contract import OUTCOME_TOPIC, Outcome, parse_outcome
from lineside.errors import BusError
from lineside_opcua_bridge.outcome_publisher import OutcomePublisher
from tests.support.waiting import until


def outcome(number: int) -> Outcome:
    return Outcome(
        request_id=f"r-{number}", trigger="t", model="m", verdict="pass", origin="judged", cause="ok", reason="good"
    )


class Sender:
    def __init__(self, *, limit: int = 3, backlog: int = 1000) -> None:
        self.registry = CollectorRegistry()
        self.broker = MemoryBroker()
        self.bus = MemoryBus(self.broker, max_backlog=backlog)
        self.outcomes = OutcomePublisher(self.bus, OUTCOME_TOPIC, self.registry, limit=limit)

    def sent(self) -> list[str]:
        return [parse_outcome(payload).request_id for topic, payload in self.broker.published if topic == OUTCOME_TOPIC]

    def counted(self, kind: str) -> float | None:
        return self.registry.get_sample_value("lineside_opcua_bridge_outcomes_total", {"kind": kind})

    def waiting(self) -> float | None:
        return self.registry.get_sample_value("lineside_opcua_bridge_outcomes_waiting")


async def test_outcomes_go_out_in_order() -> None:
    sender = Sender(limit=100)
    task = asyncio.ensure_future(sender.outcomes.run())
    for number in range(20):
        sender.outcomes.put(outcome(number))
    await sender.outcomes.flush()
    assert sender.sent() == [f"r-{number}" for number in range(20)]
    assert (sender.counted("published"), sender.counted("dropped"), sender.waiting()) == (20, 0, 0)
    task.cancel()


async def test_while_the_broker_is_away_they_are_bounded_and_the_newest_stay() -> None:
    sender = Sender(limit=3)
    sender.broker.online = False
    task = asyncio.ensure_future(sender.outcomes.run())
    for number in range(50):
        sender.outcomes.put(outcome(number))
        assert (sender.waiting() or 0) <= 3
        await asyncio.sleep(0)
    sender.broker.online = True
    await sender.outcomes.flush()
    assert sender.sent()[-3:] == ["r-47", "r-48", "r-49"]
    assert sender.counted("dropped") == 47
    task.cancel()


async def test_our_requests_that_fill_the_backlog_hold_them_up_and_lose_none() -> None:
    sender = Sender(backlog=1)
    sender.broker.online = False
    request = asyncio.ensure_future(sender.bus.publish("request", b""))
    await asyncio.sleep(0)
    task = asyncio.ensure_future(sender.outcomes.run())
    sender.outcomes.put(outcome(1))
    await asyncio.sleep(0)
    sender.broker.online = True
    await request
    await until(sender.sent)
    assert sender.sent() == ["r-1"]
    task.cancel()


async def test_one_that_the_broker_refuses_is_counted_and_holds_up_no_other() -> None:
    sender = Sender()
    publish = sender.bus.publish

    async def picky(topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        if b"r-1" in payload:
            raise BusError("not authorised")
        await publish(topic, payload, retain=retain, keep=keep)

    sender.bus.publish = picky  # type: ignore[method-assign]
    task = asyncio.ensure_future(sender.outcomes.run())
    for number in range(3):
        sender.outcomes.put(outcome(number))
    await sender.outcomes.flush()
    assert sender.sent() == ["r-0", "r-2"]
    assert sender.counted("refused") == 1
    task.cancel()
