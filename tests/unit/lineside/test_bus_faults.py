"""Whatever stands in a message: no handler of any service's topics fails, and no service would end by one that did."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lineside.bus.faults import MessageFaults
from lineside.bus.memory import MemoryBroker, MemoryBus, MemoryMessage, MemorySubscription
from lineside.connections import Connection
from lineside.contract import (
    CameraSource,
    Context,
    ErrorReport,
    ModelRef,
    Outcome,
    Policy,
    Request,
    Result,
    ServiceStatus,
    Unreadable,
    parse_outcome,
    parse_request,
    parse_status,
    to_json,
    uuid7,
)
from lineside.settings import BusSettings
from lineside_exporter.cloudwatch.reporter import Reporter
from lineside_exporter.cloudwatch.settings import GreengrassSettings
from lineside_inference.errors import PolicyRefused
from lineside_inference.policies.policy_store import read
from lineside_opcua_bridge.collector.collector import Collector, CollectorMetrics
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.pausing import PauseSwitch
from lineside_opcua_bridge.results import ResultRouter
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.pending import PendingRequest, PendingRequests
from lineside_opcua_bridge.values import tags_of
from lineside_topic_bridge.bridge import _refusal
from lineside_topic_bridge.reporting import PolicyReporter, document, in_force, news
from lineside_topic_bridge.steering.asking import report
from lineside_topic_bridge.steering.shadow.documents import ShadowUnreadable, read_shadow
from lineside_topic_bridge.steering.shadow.sync import Sync, has_read, next_update, wants
from lineside_topic_bridge.steering.topic import wish_of as wish_of_topic
from lineside_topic_bridge.truncate import truncate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALIAS = "/press/part"
REQUEST = Request.new(
    model="m", source=CameraSource(camera="c"), context=Context(station="s", part_id="P-1"), deadline_ms=400
)
RESULT = Result(
    id=uuid7(),
    request_id=REQUEST.id,
    status="ok",
    verdict="pass",
    reason="good",
    model=ModelRef(name="m"),
    scores={"good": 0.9},
    context=REQUEST.context,
)
OUTCOME = Outcome(
    request_id=REQUEST.id, trigger="t", model="m", verdict="pass", origin="judged", cause="ok", reason="good"
)
STANDING = ServiceStatus(service="opcua_bridge", ready=True)
REPORT = ErrorReport(id=uuid7(), request_id=REQUEST.id, code="not-json", reason="?", topic="t", excerpt="{")
BATCH = {
    "entries": [
        {
            "entryId": "1",
            "propertyAlias": ALIAS,
            "propertyValues": [
                {
                    "value": {"doubleValue": 1.5},
                    "timestamp": {"timeInSeconds": 1_767_225_600, "offsetInNanos": 5},
                    "quality": "GOOD",
                }
            ],
        }
    ]
}
STATUS = {"response": {"status": "error", "error": "Throttled", "error_message": "later"}}
POLICY = {"policy": {"enabled": True}, "enabled": True, "etag": "x", "state": "applied", "errors": [], "time": "t"}
VALID = {
    "requests": json.loads(to_json(REQUEST)),
    "outcomes": json.loads(to_json(OUTCOME)),
    "how services stand": json.loads(to_json(STANDING)),
    "the desired policy": json.loads(to_json(Policy())),
    "shadows": {"state": {"desired": POLICY["policy"], "reported": POLICY["policy"] | {"errors": []}}, "version": 3},
    "results": json.loads(to_json(RESULT)),
    "results, counted": json.loads(to_json(RESULT)),
    "error reports": json.loads(to_json(REPORT)),
    "the policy in force, followed": POLICY,
    "the policy in force, watched": POLICY,
    "the inference service's answers": json.loads(to_json(Policy())),
    "a collector's values": BATCH,
    "the state of figures": STATUS,
}
DEEP = b"[" * 100_000
FAR = b'{"a":' + b"9" * 4301 + b"}"

NUMBERS = st.integers() | st.floats() | st.sampled_from([int("9" * 401), -(2**64), 1e308, 10**4299])
LEAVES = st.none() | st.booleans() | NUMBERS | st.text() | st.sampled_from(["GOOD", ALIAS, "lineside/request/1"])
NAMES = st.text() | st.sampled_from(["entries", "schema", "id", "enabled", "response", "quality", "value"])
ANYTHING = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4))


GONE = object()


def places(document: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in a document, itself first."""
    yield here
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, each in inner:
        yield from places(each, (*here, name))


def spoiled(document: Any, place: tuple[Any, ...], by: object) -> Any:
    """Return a document of which one place holds something else, or is gone."""
    if not place:
        return None if by is GONE else by
    name, *rest = place
    copy = document.copy()
    if not rest and by is GONE:
        del copy[name]
    else:
        copy[name] = spoiled(document[name], tuple(rest), by)
    return copy


@st.composite
def messages(draw: Callable[[Any], Any], valid: Any) -> bytes:
    kind = draw(st.integers(0, 9))
    if kind == 0:
        return bytes(draw(st.binary(max_size=200)))
    if kind == 1:
        return json.dumps(draw(ANYTHING)).encode()
    place = draw(st.sampled_from(list(places(valid))))
    return json.dumps(spoiled(valid, place, draw(ANYTHING | st.just(GONE)))).encode()


class Station:
    """Takes a collector's values as a station does."""

    settings = SimpleNamespace(tags=lambda: {"trigger": f"alias={ALIAS}", "sample.part_id": f"alias={ALIAS}"})

    def receive(self, _binding: None, role: str, sample: Sample) -> None:
        Context(part_id=tags_of({role.removeprefix("sample."): sample}).part_id)

    def mark_gap(self, role: str | None) -> None:
        pass

    def pause(self, reason: str | None) -> None:
        pass

    def take_answer(self, request_id: str, answer: Any) -> None:
        pass


def requests(payload: bytes) -> None:
    try:
        asked = parse_request(payload)
    except Unreadable:
        return
    truncate(RESULT.model_copy(update={"context": asked.context}), 1024, NOW)


def readable(parse: Callable[[bytes], object], payload: bytes) -> None:
    with contextlib.suppress(Unreadable, PolicyRefused):
        parse(payload)


def desired(payload: bytes) -> None:
    readable(read, payload)
    wish_of_topic(payload, 6144)


def shadows(payload: bytes) -> None:
    with contextlib.suppress(ShadowUnreadable):
        sync, wish = has_read(wants(Sync(), {"enabled": True}), read_shadow(payload), 8192)
        assert wish is not None
        assert (update := next_update(sync)) is None or update.payload("t")


def inference_answers(payload: bytes) -> None:
    answer = httpx.Response(200, content=payload)
    if found := in_force(answer):
        document(news(found, None, "now") or {}, 6144)
    document(report(answer, "now"), 6144)
    report(httpx.Response(422, content=payload), "now")
    _refusal(httpx.Response(422, content=payload), "id")


def handlers() -> dict[str, Callable[[bytes], object]]:
    """Return what takes the messages of each topic, by what the topic carries."""
    registry, bus, station = CollectorRegistry(), MemoryBus(MemoryBroker()), Station()
    pending = PendingRequests()
    pending.open[REQUEST.id] = PendingRequest(station, REQUEST, to_json(REQUEST))
    metrics = Metrics(registry)
    results = ResultRouter(pending, {"s"}, metrics)
    pausing = PauseSwitch([station], [Connection("x", "y")])
    collector = Collector([station], max_bytes=10**6, metrics=CollectorMetrics(registry))  # type: ignore[list-item]
    reporter = PolicyReporter(bus=bus, topic="t", inference=SimpleNamespace(), max_bytes=6144)  # type: ignore[arg-type]
    reporter._told = dict(POLICY)
    exporter = Reporter(
        GreengrassSettings(),
        thing="box",
        bus=bus,
        result_topic=BusSettings().result_topic,
        connection=lambda *given, **_options: Connection(*given),
        registry=registry,
    )
    whole = {
        "results": results.take,
        "error reports": results.take_error,
        "the policy in force, followed": pausing.take,
        "a collector's values": collector.take,
        "the policy in force, watched": reporter.take,
    }
    return {name: _of(take) for name, take in whole.items()} | {
        "requests": requests,
        "outcomes": lambda payload: readable(parse_outcome, payload),
        "how services stand": lambda payload: readable(parse_status, payload),
        "the desired policy": desired,
        "shadows": shadows,
        "the inference service's answers": inference_answers,
        "results, counted": exporter.take,
        "the state of figures": exporter.read_status,
    }


def _of(take: Callable[[Any], None]) -> Callable[[bytes], object]:
    return lambda payload: take(MemoryMessage("t", payload, MemorySubscription()))


HANDLERS = handlers()


@pytest.mark.parametrize("topic", VALID)
@given(data=st.data())
@settings(max_examples=80)
def test_no_message_makes_a_handler_fail(topic: str, data: st.DataObject) -> None:
    HANDLERS[topic](data.draw(messages(VALID[topic])))


@pytest.mark.parametrize("topic", VALID)
@pytest.mark.parametrize("payload", [DEEP, FAR, b"", b"\xff", b"null"])
def test_no_message_of_the_wrong_kind_makes_a_handler_fail(topic: str, payload: bytes) -> None:
    HANDLERS[topic](payload)


async def test_a_handler_that_fails_all_the_same_costs_one_message() -> None:
    broker, registry = MemoryBroker(), CollectorRegistry()
    bus = MemoryBus(broker)
    messages_of = bus.subscribe("t")
    taken: list[bytes] = []

    def take(message: Any) -> None:
        taken.append(message.payload)
        if message.payload == b"bad":
            raise RuntimeError("nobody foresaw it")

    task = asyncio.create_task(MessageFaults("x", registry).each(messages_of, take))
    for payload in (b"good", b"bad", b"after"):
        await bus.publish("t", payload)
    async with asyncio.timeout(10):
        while len(taken) < 3 or messages_of.unacknowledged:
            await asyncio.sleep(0)
    assert not task.done()
    assert registry.get_sample_value("lineside_x_bus_failed_messages_total", {"topic": "t"}) == 1
    task.cancel()
