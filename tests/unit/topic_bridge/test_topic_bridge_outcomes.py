"""Outcomes on their way from the bus to the inference service: acknowledged once taken, and in nobody's way."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
from prometheus_client import CollectorRegistry

from lineside.bus.faults import MessageFaults
from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.connections import Connection
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.outcomes import OutcomeCarrier, carry_status
from tests.support.waiting import until


class Line:
    def __init__(self, answer: Callable[[str], httpx.Response]) -> None:
        self.taken: list[str] = []
        self.alive = True
        self.registry = CollectorRegistry()
        self.bus = MemoryBus(MemoryBroker())
        self.outcomes, self.states = self.bus.subscribe("outcome"), self.bus.subscribe("status")
        self._answer = answer

    def counted(self, kind: str) -> float:
        return self.registry.get_sample_value("lineside_topic_bridge_outcomes_total", {"kind": kind}) or 0.0

    def respond(self, request: httpx.Request) -> httpx.Response:
        if not self.alive:
            raise httpx.ConnectError("nobody listens")
        if request.url.path == "/livez":
            return httpx.Response(200)
        text = f"{request.url.path} {request.content.decode()}"
        answer = self._answer(text)
        if answer.is_success:
            self.taken.append(text)
        return answer


@asynccontextmanager
async def running(line: Line) -> AsyncIterator[Line]:
    client = httpx.AsyncClient(base_url="http://inference", transport=httpx.MockTransport(line.respond))
    link = InferenceLink(client, Connection("inference", "", first_s=0.001, longest_s=0.002))
    faults = MessageFaults("topic_bridge", line.registry)
    carrier = OutcomeCarrier(
        outcomes=line.outcomes, inference=link, faults=faults, max_bytes=20, registry=line.registry
    )
    tasks = [
        asyncio.ensure_future(it) for it in (link.supervise(), carrier.run(), carry_status(line.states, link, faults))
    ]
    try:
        yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()


async def test_an_outcome_is_acknowledged_once_it_is_taken() -> None:
    line = Line(lambda _text: httpx.Response(204))
    line.alive = False
    async with running(line):
        await line.bus.publish("outcome", b"one")
        await line.bus.publish("outcome", b"two")
        await until(lambda: line.outcomes.unacknowledged)
        assert not line.taken
        line.alive = True
        await until(lambda: line.counted("taken") == 2 and not line.outcomes.unacknowledged)
    assert line.taken == ["/v1/outcomes one", "/v1/outcomes two"]


async def test_one_that_is_refused_holds_up_no_other() -> None:
    line = Line(lambda text: httpx.Response(422 if text.endswith("bad") else 204))
    async with running(line):
        for payload in (b"bad", b"x" * 21, b"good"):
            await line.bus.publish("outcome", payload)
        await until(lambda: line.counted("taken") == 1)
    assert (line.taken, line.counted("refused")) == (["/v1/outcomes good"], 2)


async def test_nothing_that_a_message_brings_about_ends_the_bridge() -> None:
    def answer(text: str) -> httpx.Response:
        if "boom" in text:
            raise ZeroDivisionError("unforeseen")
        return httpx.Response(204)

    line = Line(answer)
    async with running(line):
        for topic in ("outcome", "status"):
            await line.bus.publish(topic, b"boom")
            await line.bus.publish(topic, b"fine")
        await until(lambda: len(line.taken) == 2)
    assert not line.outcomes.unacknowledged
    for topic in ("outcome", "status"):
        assert line.registry.get_sample_value("lineside_topic_bridge_bus_failed_messages_total", {"topic": topic}) == 1


async def test_a_busy_service_is_asked_again() -> None:
    answers = [httpx.Response(503), httpx.Response(429), httpx.Response(204)]
    line = Line(lambda _text: answers.pop(0))
    async with running(line):
        await line.bus.publish("outcome", b"one")
        await until(lambda: line.counted("taken") == 1)
    assert not answers


async def test_states_are_brought_as_they_come_and_never_kept() -> None:
    line = Line(lambda _text: httpx.Response(204))
    async with running(line):
        await line.bus.publish("status", b"fine")
        await until(lambda: line.taken)
    assert line.taken == ["/v1/status fine"]
    assert not line.states.unacknowledged
