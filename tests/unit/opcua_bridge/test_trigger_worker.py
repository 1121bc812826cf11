"""What happens at the bounds of a trigger's worker; nothing is connected here."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from asyncua import ua
from prometheus_client import CollectorRegistry

from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.connections import Connection
from lineside.contract import (
    MAX_MESSAGE_BYTES,
    REQUEST_TOPIC,
    CameraSource,
    Outcome,
    Request,
    TensorsSource,
    parse_outcome,
    parse_request,
    to_json,
)
from lineside.settings import BusSettings
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.outcome import outcome_of
from lineside_opcua_bridge.station.parts import Answer, Part, unknown
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.trigger_worker import TriggerWorker
from lineside_opcua_bridge.ticker import FairLock
from tests.support.waiting import until

NODE = ua.NodeId("x", 1)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    """A worker whose tags come by a collector, on a bus in memory, and what became of its parts."""

    def __init__(self, *, backlog: int = 16, broker: Connection | None = None, **trigger: Any) -> None:
        self.registry = CollectorRegistry()
        self.broker = MemoryBroker()
        self.pending = PendingRequests()
        self.outcomes: list[Outcome] = []
        self.bus = MemoryBus(self.broker)
        settings = TriggerSettings.model_validate(
            {
                "name": "t",
                "when": {"kind": "change", "node": "alias=/part"},
                "debounce_ms": 0,
                "station": "s",
                "model": "m",
                "source": {"kind": "camera", "camera": "c"},
                "deadline_ms": 60_000,
            }
            | trigger
        )
        self.worker = TriggerWorker(
            settings,
            CameraSource(camera="c") if settings.source.kind == "camera" else None,
            bus=self.bus,
            topics=BusSettings(),
            pending=self.pending,
            metrics=Metrics(self.registry),
            fair_lock=FairLock(),
            on_outcome=self.outcomes.append,
            broker=broker,
            grace_s=1.0,
            backlog=backlog,
        )
        self._ticks = 0.0

    def see(self, content: object, role: str = "trigger", *, at_ms: float | None = None) -> None:
        self._ticks += 0.001
        at = START + timedelta(milliseconds=self._ticks * 1000 if at_ms is None else at_ms)
        now = asyncio.get_running_loop().time()
        self.worker.receive(None, role, Sample(content, "good", at, None, datetime.now(UTC), now))

    def requests(self) -> list[Request]:
        return [parse_request(payload) for topic, payload in self.broker.published if topic == REQUEST_TOPIC]

    async def request(self, number: int = 1) -> Request:
        await until(lambda: len(self.requests()) >= number)
        return self.requests()[number - 1]

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"lineside_opcua_bridge_{name}", {"trigger": "t"} | labels) or 0.0


@contextlib.asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[Bench]:
    async with bench.bus:
        task = asyncio.get_running_loop().create_task(bench.worker.run())
        try:
            yield bench
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_values_above_the_backlog_are_dropped_counted_and_doubted() -> None:
    bench = Bench(backlog=16)
    session: Any = object()
    binding = Binding(session, (), {"trigger": NODE}, {"verdict": NODE, "done": NODE})
    bench.worker.attach(binding, continuous=False)
    before = len(bench.worker._events)
    for number in range(20):
        bench.see(number)
    assert bench.counted("overflow_total", where="backlog") == 4 + before
    assert len(bench.worker._events) == 17  # what fits, and one doubt for all that did not


async def test_an_element_counts_where_it_changed_and_after_a_gap_whatever_it_is() -> None:
    bench = Bench(backlog=16, when={"kind": "change", "node": "index=1;nsu=u;s=A"})
    session: Any = object()
    binding = Binding(session, (), {"trigger": NODE}, {}, elements={"trigger": 1})
    bench.worker.attach(binding, continuous=False)
    mailbox = bench.worker._events

    def put(*content: int) -> int:
        before = len(mailbox.queued("trigger"))
        bench.worker.receive(binding, "trigger", Sample(list(content), "good", START, None, START, 0.0))
        return len(mailbox.queued("trigger")) - before

    assert [put(0, 0), put(1, 0), put(1, 1), put(0, 1)] == [1, 0, 1, 0]
    bench.worker.mark_gap("trigger")
    assert [put(1, 1), put(0, 1)] == [1, 0]
    while put(0, 0) + put(0, 1):
        pass  # until the mailbox is full: what it dropped last is told again
    async with running(bench):
        await until(lambda: not len(mailbox))
        assert put(0, 1) == 1


async def test_a_value_of_a_session_that_is_gone_is_not_taken() -> None:
    bench = Bench()
    session: Any = object()
    gone, present = (Binding(session, (), {"trigger": NODE}, {}) for _ in range(2))
    bench.worker.attach(present, continuous=True)
    before = len(bench.worker._events)
    bench.worker.receive(gone, "trigger", Sample(1, "good", START, None, START, 0.0))
    assert len(bench.worker._events) == before
    bench.worker.receive(present, "trigger", Sample(1, "good", START, None, START, 0.0))
    assert len(bench.worker._events) == before + 1


@pytest.mark.parametrize(("whole", "asked"), [(True, 1), (False, 0)])
async def test_what_came_before_a_short_cut_still_counts_after_it(whole: bool, asked: int) -> None:
    bench = Bench()
    session: Any = object()
    before, after = (Binding(session, (), {"trigger": NODE}, {}) for _ in range(2))
    bench.worker.attach(before, continuous=False)
    for number in (1, 2):
        bench.worker.receive(before, "trigger", Sample(number, "good", START, None, START, time.monotonic()))
    bench.worker.detach()
    bench.worker.attach(after, continuous=whole)
    async with running(bench):
        bench.worker.receive(after, "trigger", Sample(None, "bad", START, None, START, 0.0))
        await until(lambda: bench.counted("triggers_total", kind="bad_quality"))
        assert bench.counted("triggers_total", kind="accepted") == asked


async def test_a_change_is_asked_about_and_its_result_closes_it() -> None:
    async with running(Bench()) as bench:
        bench.see("P-1")
        bench.see("P-2")
        request = await bench.request()
        assert request.context.station == "s"
        bench.worker.take_answer(request.id, Answer("pass", 0.9, "result", "good"))
        await until(lambda: bench.counted("verdicts_total", verdict="pass", origin="result"))
        assert len(bench.requests()) == 1
        assert bench.pending.closed.kind(request.id) == "duplicate"


async def test_a_part_missed_is_counted_and_one_recovered_is_marked() -> None:
    async with running(Bench(when={"kind": "counter", "node": "alias=/n"})) as bench:
        bench.see(1)
        bench.see(2)
        assert (await bench.request()).context.model_extra.keys() == {"bridge"}
        bench.worker.mark_gap("trigger")
        bench.see(5)
        assert (await bench.request(2)).context.model_extra["recovered"] is True
        assert bench.counted("missed_parts_total") == 2
        assert bench.counted("triggers_total", kind="recovered") == 1


async def test_a_condition_holds_a_trigger_back() -> None:
    async with running(Bench(only_if=[{"node": "alias=/mode", "equals": "auto"}])) as bench:
        bench.see("P-1")
        bench.see("P-2")
        await until(lambda: bench.counted("triggers_total", kind="condition"))
        bench.see("auto", "only_if.0")
        bench.see("P-3")
        await bench.request()
        bench.see("manual", "only_if.0")
        bench.see("P-4")
        await until(lambda: bench.counted("triggers_total", kind="condition") == 2)
        assert len(bench.requests()) == 1


async def test_the_sampled_value_is_the_one_in_force_at_the_trigger() -> None:
    async with running(Bench(sample={"part_id": "alias=/id", "speed": "alias=/speed"})) as bench:
        bench.see(0, at_ms=0)
        bench.see("P-1", "sample.part_id", at_ms=5)
        bench.see(100, "sample.speed", at_ms=6)
        bench.see(200, "sample.speed", at_ms=20)
        bench.see("P-2", "sample.part_id", at_ms=21)
        bench.see(1, at_ms=10)
        context = (await bench.request()).context
        assert (context.part_id, context.tags) == ("P-1", {"speed": 100})
        assert bench.counted("samples_total", kind="in_force") == 2


async def test_an_unknown_tag_is_absent_and_said_to_be() -> None:
    async with running(Bench(sample={"speed": "alias=/speed"})) as bench:
        bench.see(0)
        bench.see(1)
        assert (await bench.request()).context.tags == {}
        assert bench.counted("sample_failures_total", reason="no_value") == 1


async def test_while_paused_a_part_is_unknown_at_once_and_nobody_is_asked() -> None:
    async with running(Bench()) as bench:
        bench.see(0)
        bench.worker.pause("paused by policy")
        bench.see(1)
        await until(lambda: bench.counted("verdicts_total", verdict="unknown", origin="paused"))
        bench.worker.pause(None)
        bench.see(2)
        await bench.request()
        assert len(bench.requests()) == 1


async def test_where_the_broker_is_known_to_be_away_the_part_is_unknown_at_once_and_says_so() -> None:
    broker = Connection("bus", "mqtt://broker", first_s=1000, longest_s=1000)
    async with running(Bench(broker=broker)) as bench:  # its deadline is a minute away
        bench.broker.online = False
        broker.backoff("Connection refused")
        bench.see(0)
        bench.see(1)
        await until(lambda: bench.outcomes)
        broker.online()  # control: a broker that is there is asked
        bench.broker.online = True
        bench.see(2)
        await bench.request()
    (told,) = bench.outcomes
    assert (told.verdict, told.origin, told.cause) == ("unknown", "refused", "broker-away")
    assert told.reason == "the broker is away: Connection refused"


async def test_a_request_that_did_not_go_out_in_time_is_told_from_one_that_nobody_answered() -> None:
    broker = Connection("bus", "mqtt://broker", first_s=0.001, longest_s=0.001)
    async with running(Bench(broker=broker, deadline_ms=200, margin_ms=100)) as bench:
        bench.see(0)
        bench.see(1)
        await until(lambda: bench.outcomes)  # it went out, and nobody answers
        bench.broker.online = False
        broker.backoff("Connection refused")  # but tries again at once: it may be back in time
        bench.see(2)
        await until(lambda: len(bench.outcomes) == 2)
    assert [one.cause for one in bench.outcomes] == ["deadline", "broker-away"]
    assert {one.origin for one in bench.outcomes} == {"deadline"}


async def test_each_part_has_one_outcome_that_says_what_became_of_it() -> None:
    """Nothing is written back here: what would have been is the verdict, and no instant is made up for it."""
    async with running(Bench(deadline_ms=400, margin_ms=100)) as bench:
        bench.see(0)
        bench.see(1)
        judged = await bench.request()
        assert 200 <= judged.deadline_ms <= 300  # the reason must be here before `unknown` is written
        bench.worker.take_answer(judged.id, Answer("fail", 0.9, "result", "scratch 0.93 >= 0.60"))
        bench.worker.take_answer(judged.id, Answer("pass", 0.9, "result", "said twice"))
        await until(lambda: len(bench.outcomes) == 1)
        bench.see(2)
        await until(lambda: len(bench.outcomes) == 2)  # nobody answers: the deadline decides
        bench.worker.pause("paused by policy")
        bench.see(3)
        await until(lambda: len(bench.outcomes) == 3)
        bench.worker.pause(None)
        bench.see(4)
        await bench.request(3)
        bench.see(5)
        await until(lambda: len(bench.outcomes) >= 4)
    told = [(one.verdict, one.origin, one.cause, one.asked, one.written_at) for one in bench.outcomes[:4]]
    assert told == [
        ("fail", "judged", "ok", True, None),
        ("unknown", "deadline", "deadline", True, None),
        ("unknown", "disabled", "paused", False, None),
        (None, "refused", "superseded", True, None),
    ]
    assert bench.outcomes[0].request_id == judged.id
    assert bench.outcomes[0].write_error is None
    assert bench.outcomes[3].write_error == "a newer part came before its verdict"
    assert {(one.station, one.model, one.trigger) for one in bench.outcomes} == {("s", "m", "t")}


async def test_newest_lets_the_older_part_go_without_a_verdict() -> None:
    async with running(Bench()) as bench:
        bench.see(0)
        bench.see(1)
        first = await bench.request()
        bench.see(2)
        second = await bench.request(2)
        bench.worker.take_answer(first.id, Answer("pass", 0.9, "result", "good"))
        await until(lambda: bench.counted("unanswered_parts_total", reason="superseded") == 1)
        assert bench.pending.closed.kind(first.id) == "late"
        assert list(bench.pending.open) == [second.id]


async def test_queue_lets_each_part_have_its_own_up_to_the_limit() -> None:
    async with running(Bench(overrun="queue", overrun_limit=2)) as bench:
        for content in range(4):
            bench.see(content)
            await until(lambda number=content: len(bench.requests()) == number)
        await until(lambda: bench.counted("unanswered_parts_total", reason="overrun") == 1)
        for request in bench.requests()[1:]:
            bench.worker.take_answer(request.id, Answer("pass", 0.9, "result", "good"))
        await until(lambda: bench.counted("verdicts_total", verdict="pass", origin="result") == 2)


async def test_skip_answers_the_newer_part_unknown_unasked() -> None:
    async with running(Bench(overrun="skip")) as bench:
        for content in range(3):
            bench.see(content)
        await until(lambda: bench.counted("verdicts_total", verdict="unknown", origin="overrun") == 1)
        request = await bench.request()
        bench.worker.take_answer(request.id, Answer("pass", 0.9, "result", "good"))
        await until(lambda: bench.counted("verdicts_total", verdict="pass", origin="result") == 1)
        assert len(bench.requests()) == 1


async def test_tags_that_make_the_request_too_large_are_left_out() -> None:
    names = [f"{'tag' * 30}-{number}" for number in range(32)]
    async with running(Bench(sample={name: f"alias=/{name}" for name in names})) as bench:
        bench.see(0, at_ms=1000)
        for name in names:
            bench.see("x" * 128, f"sample.{name}", at_ms=2000)
        bench.see(1, at_ms=3000)
        assert (await bench.request()).context.tags == {}
        await until(lambda: bench.counted("sample_failures_total", reason="message_size") == 32)


async def test_a_period_asks_without_a_signal_and_without_a_plc() -> None:
    async with running(Bench(when={"kind": "period", "every_ms": 10}, overrun="queue", overrun_limit=1000)) as bench:
        await bench.request(3)
        assert bench.requests()[0].time.source is None
        assert bench.counted("triggers_total", kind="accepted") >= 3


async def test_a_window_that_cannot_be_judged_is_unknown_by_its_own_code() -> None:
    source = {"kind": "window", "input": "x", "tags": {"a": "alias=/a"}, "rate_hz": 100, "samples": 10}
    async with running(Bench(source=source)) as bench:
        bench.see(0)
        bench.see(1)
        await until(lambda: bench.counted("verdicts_total", verdict="unknown", origin="window"))
        assert not bench.requests()


async def test_a_part_that_comes_while_stopping_is_left_to_the_next_start() -> None:
    async with running(Bench()) as bench:
        bench.see(0)
        await bench.worker.drain()
        bench.see(1)
        await until(lambda: bench.counted("triggers_total", kind="accepted"))
        await until(lambda: len(bench.worker._events) == 0)
        assert not bench.requests()


async def test_tags_that_rest_make_windows_as_far_as_the_server_was_heard_and_no_further() -> None:
    tags = {name: f"nsu=u;s={name}" for name in ("a", "b")}
    source = {"kind": "window", "input": "x", "tags": tags, "rate_hz": 100, "samples": 10}
    session: Any = SimpleNamespace(last_publish=0.0)
    nodes = {f"window.{name}": NODE for name in tags}
    async with running(Bench(source=source, when={"kind": "window"}, overrun="queue", overrun_limit=1000)) as bench:
        binding = Binding(session, (), nodes, {})
        bench.worker.attach(binding, continuous=False)
        ticks = time.monotonic()
        for ms in (0, 10):
            for role in nodes:
                at = START + timedelta(milliseconds=ms)
                value = Sample(1.0, "good", at, None, START, ticks + ms / 1000)
                bench.worker.receive(binding, role, value)
        await asyncio.sleep(0.1)  # control: our own clock alone makes no window
        assert not bench.requests()
        session.last_publish = ticks + 0.35
        request = await bench.request(2)
        await asyncio.sleep(0.1)
        ends = [each.time.source for each in bench.requests()]
        assert ends == [START + timedelta(milliseconds=ms) for ms in (100, 200, 300)]
        assert isinstance(request.source, TensorsSource)
        bench.worker.detach()
        session.last_publish = ticks + 10
        await asyncio.sleep(0.1)
        assert len(bench.requests()) == 3


async def test_an_outcome_fits_the_bus_whatever_the_plc_and_its_errors_say() -> None:
    bench = Bench(station="\U0001f6e0" * 128)
    part = Part.arrived("r" * 128, seen=0.0, deadline_s=1, margin_s=0.1, part_id="\U0001f6e0" * 500, risen=None)
    answer = unknown("error", "\U0001f6e0" * 5000, code="error")
    part = replace(part, answer=answer, failure="\U0001f6e0" * 5000, lost="write_failed")
    told = outcome_of(bench.worker.settings, part)
    assert parse_outcome(to_json(told)) == told
    assert len(to_json(told)) <= MAX_MESSAGE_BYTES
    assert (told.verdict, told.cause) == (None, "write_failed")
