"""Wishes from the bus and from elsewhere to a real HTTP server, and the report of them back on the bus."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from lineside.bus.faults import MessageFaults
from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.connections import Connection
from lineside.contract import Policy, policy_topic, reported_policy_topic
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.reporting import PolicyReporter
from lineside_topic_bridge.steering.configuration import ConfigurationSource
from lineside_topic_bridge.steering.desk import PolicyDesk
from lineside_topic_bridge.steering.topic import TopicSource
from lineside_topic_bridge.steering.wishes import Answer, Origin, Source, Wish
from tests.support.policy_service import PolicyService
from tests.support.waiting import until

ORDER = ("shadow", "topic", "configuration")
TOPIC = policy_topic("bench")
REPORTED = reported_policy_topic("bench")


class Line:
    """A running desk, and what it told."""

    def __init__(self, broker: MemoryBroker, desk: PolicyDesk) -> None:
        self.broker = broker
        self.desk = desk
        self._bus = MemoryBus(broker)

    async def set(self, payload: bytes) -> None:
        await self._bus.publish(TOPIC, payload, retain=True)

    async def forge(self, payload: bytes) -> None:
        await self._bus.publish(REPORTED, payload, retain=True)

    @property
    def told(self) -> list[dict]:
        return [json.loads(payload) for topic, payload in self.broker.published if topic == REPORTED and payload]


@asynccontextmanager
async def line(
    inference: PolicyService,
    *,
    looking: bool = False,
    broker: MemoryBroker | None = None,
    configuration: ConfigurationSource | None = None,
    more: tuple[Source, ...] = (),
    awaited: frozenset[Origin] = frozenset(),
    wait_s: float = 3600.0,
    kind: type[MemoryBus] = MemoryBus,
) -> AsyncIterator[Line]:
    broker = broker or MemoryBroker()
    bus = kind(broker)
    url = f"http://127.0.0.1:{inference.port}"
    desired, reports = bus.subscribe(TOPIC), bus.subscribe(REPORTED)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        link = InferenceLink(client, Connection("inference", url, first_s=0.02, longest_s=0.1))
        reporter = PolicyReporter(bus=bus, topic=REPORTED, inference=link, max_bytes=6144, period_s=0.01, repeat_s=0.01)
        faults = MessageFaults("topic_bridge", None)
        sources = [TopicSource(desired, 6144), configuration or ConfigurationSource(None), *more]
        desk = PolicyDesk(
            sources=sources, order=ORDER, inference=link, reporter=reporter, awaited=awaited, wait_s=wait_s
        )
        work = [link.supervise(), desk.run(), faults.each(reports, reporter.take), reporter.correct()]
        work += [reporter.repeat()]
        work += [reporter.run()] if looking else []
        tasks = [asyncio.create_task(each) for each in work]
        try:
            yield Line(broker, desk)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await inference.stop()


async def test_a_policy_is_put_and_reported() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference) as running:
        await running.set(b'{"enabled":false}')
        await until(lambda: running.told)
        [told] = running.told
    assert inference.puts == [b'{"enabled":false}']
    assert (told["state"], told["policy"], told["enabled"], told["errors"]) == (
        "applied",
        {"enabled": False},
        False,
        [],
    )
    assert told["etag"]


async def test_what_is_refused_is_reported_with_its_errors() -> None:
    inference = PolicyService()
    inference.status = 422
    await inference.start()
    async with line(inference) as running:
        await running.set(b'{"thresholds":{"scrach":0.5}}')
        await until(lambda: running.told)
        await running.set(b"x" * 7000)
        await until(lambda: len(running.told) == 2)
        await running.set(b'{"enbled":false,"thresholds":{"pit":-1}}')
        await until(lambda: len(running.told) == 3)
        first, second, third = running.told
    assert (first["state"], first["errors"]) == ("refused", ["a", "b"])
    assert second["errors"] == ["the message has 7000 bytes, allowed are 6144"]
    assert [error.partition(":")[0] for error in third["errors"]] == ["policy.thresholds.pit", "policy.enbled"]
    assert len(inference.puts) == 1


async def test_the_same_message_again_is_put_once() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference) as running:
        for payload in (b"{}", b"{}", b"", b'{"enabled":true}'):
            await running.set(payload)
            if payload:
                await until(lambda wanted=payload: inference.puts[-1:] == [wanted])
                await until(lambda: len(running.told) == len(inference.puts))
    assert inference.puts == [b"{}", b'{"enabled":true}']


async def test_a_policy_waits_for_the_inference_service_and_only_the_newest_counts() -> None:
    inference = PolicyService()
    async with line(inference) as running:
        await running.set(b'{"enabled":false}')
        await running.set(b'{"enabled":true}')
        await inference.start()
        await until(lambda: running.told)
    assert inference.puts == [b'{"enabled":true}']
    assert running.told[-1]["policy"] == {"enabled": True}


async def test_a_busy_service_is_asked_again() -> None:
    inference = PolicyService()
    inference.status = 503
    await inference.start()
    async with line(inference) as running:
        await running.set(b"{}")
        await until(lambda: inference.puts)
        inference.status = 200
        await until(lambda: running.told)
    assert running.told[-1]["state"] == "applied"


async def test_a_policy_put_over_http_is_told_once() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        inference.policy = b'{"enabled":false}'
        await until(lambda: len(running.told) == 2)
        await inference.looked()
        first, second = running.told
    assert (first["enabled"], second["enabled"]) == (True, False)
    assert (second["state"], second["policy"]) == ("applied", {"enabled": False})


async def test_what_came_by_topic_is_not_told_again() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        await running.set(b'{"enabled":false}')
        await until(lambda: len(running.told) == 2)
        await inference.looked()
        assert [told["enabled"] for told in running.told] == [True, False]


async def test_a_refusal_names_the_policy_that_stays() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        inference.status = 422
        await running.set(b'{"thresholds":{"scrach":0.5}}')
        await until(lambda: len(running.told) == 2)
        await inference.looked()
        told = running.told[1:]
    assert [(each["state"], each["errors"], each["enabled"]) for each in told] == [("refused", ["a", "b"], True)]


async def test_a_restarted_inference_service_that_forgot_its_policy_is_told() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        inference.policy = b'{"enabled":false}'
        await until(lambda: running.told and running.told[-1]["enabled"] is False)
        await inference.stop()
        inference.policy = b'{"enabled":true}'
        await inference.start()
        await until(lambda: running.told[-1]["enabled"] is True)


async def test_a_restarted_topic_bridge_says_what_holds_now() -> None:
    inference = PolicyService()
    inference.policy = b'{"enabled":false}'
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        broker = running.broker
    broker.published.clear()
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True, broker=broker) as running:
        await until(lambda: running.told)
        assert running.told[-1]["enabled"] is True


async def test_a_forged_report_is_covered_by_ours_again() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        for forged in (b'{"enabled":false}', b"", b"[]", json.dumps({**running.told[0], "enabled": False}).encode()):
            seen = len(running.broker.published)
            await running.forge(forged)
            await until(lambda seen=seen: len(running.broker.published) > seen + 1)
            assert running.told[-1] == running.told[0]


async def test_what_we_told_is_not_taken_for_somebody_elses() -> None:
    inference = PolicyService()
    await inference.start()
    async with line(inference, looking=True) as running:
        await until(lambda: running.told)
        await running.forge(json.dumps({**running.told[0], "time": "2026-01-01T00:00:00Z"}).encode())
        for enabled in ("false", "true"):
            await running.set(b'{"enabled":%s}' % enabled.encode())
            await until(lambda wanted=enabled == "true": running.told[-1]["enabled"] is wanted)
        await inference.looked()
        assert [told["enabled"] for told in running.told] == [True, True, False, True]


class Other:
    """A source that a test moves."""

    origin: Origin = "shadow"

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._wishes: asyncio.Queue[Wish] = asyncio.Queue()

    def wish(self, document: dict | None, *errors: str) -> None:
        self._wishes.put_nowait(Wish("shadow", document, errors))

    async def wishes(self) -> AsyncIterator[Wish]:
        while True:
            yield await self._wishes.get()

    async def answer(self, answer: Answer) -> None:
        self.answers.append(answer)


async def test_two_sources_make_one_policy_and_it_is_said_who_steers() -> None:
    inference, shadow = PolicyService(), Other()
    await inference.start()
    configuration = ConfigurationSource(Policy(thresholds={"default": 0.75}))
    async with line(inference, looking=True, configuration=configuration, more=(shadow,)) as running:
        await until(lambda: inference.puts)
        shadow.wish({"thresholds": {"pit": 0.4}})
        await until(lambda: shadow.answers)
        assert json.loads(inference.puts[-1]) == {"thresholds": {"default": 0.75, "pit": 0.4}}
        await until(lambda: running.told[-1]["steering"] == ["shadow", "configuration"])
        assert running.told[-1]["source"] == "shadow"
        standing = running.desk.standing()
        assert (standing.source, standing.steering) == ("shadow", ("shadow", "configuration"))
        configuration.give(Policy(enabled=False))
        await until(lambda: json.loads(inference.puts[-1]) == {"enabled": False, "thresholds": {"pit": 0.4}})
        inference.policy = b'{"enabled":true}'
        await until(lambda: running.told[-1]["source"] == "other")
        assert running.desk.standing().source == "other"


async def test_an_invalid_wish_leaves_the_last_good_one_of_its_source() -> None:
    inference, shadow = PolicyService(), Other()
    await inference.start()
    async with line(inference, more=(shadow,)) as running:
        shadow.wish({"enabled": False})
        await until(lambda: shadow.answers == [Answer("applied")])
        shadow.wish(None, "policy.enbled: no", "policy.thresholds: no")
        await until(lambda: len(shadow.answers) == 2)
        assert shadow.answers[1] == Answer("refused", ("policy.enbled: no", "policy.thresholds: no"))
        await until(lambda: running.told[-1]["state"] == "refused")
        assert running.told[-1]["policy"] == {"enabled": False}
        assert running.desk.standing().errors == {"shadow": ("policy.enbled: no", "policy.thresholds: no")}
    assert inference.puts == [b'{"enabled":false}']


async def test_nothing_is_put_before_an_awaited_source_was_heard() -> None:
    inference, shadow = PolicyService(), Other()
    await inference.start()
    async with line(inference, looking=True, more=(shadow,), awaited=frozenset({"shadow"})) as running:
        await running.set(b'{"enabled":true,"thresholds":{"pit":0.4}}')
        await inference.looked()
        assert inference.puts == []
        assert running.desk.standing().awaited == ("shadow",)
        shadow.wish({"enabled": False})
        await until(lambda: inference.puts)
    assert [json.loads(put) for put in inference.puts] == [{"enabled": False, "thresholds": {"pit": 0.4}}]


async def test_a_source_that_is_not_heard_is_given_up() -> None:
    inference, shadow = PolicyService(), Other()
    await inference.start()
    async with line(inference, more=(shadow,), awaited=frozenset({"shadow"}), wait_s=0.01) as running:
        await running.set(b'{"enabled":false}')
        await until(lambda: inference.puts == [b'{"enabled":false}'])
        assert running.desk.standing().awaited == ()


class Forgetful(MemoryBus):
    """A bus that retains nothing, as Greengrass IPC."""

    promises = dataclasses.replace(MemoryBus.promises, retains=False)


async def test_where_nothing_is_retained_the_report_comes_again_for_who_starts_later() -> None:
    inference = PolicyService()
    await inference.start()
    broker = MemoryBroker()
    async with line(inference, looking=True, broker=broker, kind=Forgetful) as running:
        await until(lambda: len(running.told) >= 3)
        first, *others = running.told
        assert all(each == first for each in others)
