"""The topic-bridge between an in-memory bus and a real HTTP server that answers as a test tells it."""

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lineside.bus.faults import MessageFaults
from lineside.bus.memory import MemoryBroker, MemoryBus, MemorySubscription
from lineside.connections import Connection, State
from lineside.contract import CameraSource, Context, Request, Result, parse_result, to_json, utc_now, uuid7
from lineside.errors import BusError, MessageRefused
from lineside.settings import BusSettings
from lineside_topic_bridge.bridge import Metrics, TopicBridge
from lineside_topic_bridge.inference import InferenceLink
from lineside_topic_bridge.settings import TopicBridgeSettings
from tests.support.ports import free_port
from tests.support.waiting import until

TOPICS = BusSettings()


class Inference:
    """An inference service on a real socket; `answer` decides, `calls` remembers."""

    def __init__(self) -> None:
        self.calls: list[dict] = []
        self.running = 0
        self.most = 0
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.answer: Callable[[dict], Response] = lambda request: Response(to_json(result_of(request)))
        self.port = free_port()
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        routes = [
            Route("/v1/infer", self._infer, methods=["POST"]),
            Route("/livez", lambda _request: JSONResponse({"alive": True})),
        ]
        config = uvicorn.Config(Starlette(routes=routes), port=self.port, log_config=None, lifespan="off")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server._serve())
        await until(lambda: self._server.started)

    async def stop(self) -> None:
        if self._server and self._serving:
            self._server.should_exit = self._server.force_exit = True
            await asyncio.wait((self._serving,))
            self._serving.exception()

    async def _infer(self, request: HttpRequest) -> Response:
        document = await request.json()
        self.calls.append(document)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if (wait := self.gates.get(document["context"]["part_id"])) is not None:
                await wait.wait()
            return self.answer(document)
        finally:
            self.running -= 1


def result_of(request: dict) -> Result:
    return Result(
        id=uuid7(),
        request_id=request["id"],
        status="ok",
        verdict="pass",
        reason="good",
        context=Context.model_validate(request["context"]),
    )


def request(part: str, station: str = "station-1", deadline_ms: float = 60_000) -> Request:
    context = Context(station=station, part_id=part)
    return Request.new(model="m", source=CameraSource(camera="c"), context=context, deadline_ms=deadline_ms)


class Refusing(MemoryBus):
    """A bus whose broker lets us publish everywhere but on one topic, and takes no more than so many bytes."""

    def __init__(self, broker: MemoryBroker, topic: str, max_bytes: int) -> None:
        super().__init__(broker)
        self._refused = topic
        self._max_bytes = max_bytes

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        if topic == self._refused:
            raise BusError("the broker refuses the message: Not authorized")
        if len(payload) > self._max_bytes:
            raise MessageRefused(f"{len(payload)} bytes are too many")
        await super().publish(topic, payload, retain=retain)


class Line:
    """A running topic-bridge and what a test wants to see of it."""

    def __init__(
        self,
        broker: MemoryBroker,
        requests: MemorySubscription,
        link: Connection,
        metrics: Metrics,
        registry: CollectorRegistry,
    ) -> None:
        self.broker = broker
        self.requests = requests
        self.link = link
        self.metrics = metrics
        self._registry = registry
        self._bus = MemoryBus(broker)

    async def ask(self, *requests: Request | bytes) -> None:
        for message in requests:
            await self._bus.publish(TOPICS.request_topic, message if isinstance(message, bytes) else to_json(message))

    @property
    def failed(self) -> float:
        labels = {"topic": TOPICS.request_topic}
        return self._registry.get_sample_value("lineside_topic_bridge_bus_failed_messages_total", labels) or 0.0

    @property
    def results(self) -> list[Result]:
        return [parse_result(payload) for topic, payload in self.broker.published if topic == TOPICS.result_topic]

    @property
    def errors(self) -> list[dict]:
        topic = f"{TOPICS.result_topic}/error"
        return [json.loads(payload) for name, payload in self.broker.published if name == topic]


@asynccontextmanager
async def line(inference: Inference, *, refused: str = "", max_bytes: int = 10**9, **settings) -> AsyncIterator[Line]:
    """Run a bridge whose broker refuses messages on the topic `refused`, and longer ones than `max_bytes`."""
    broker = MemoryBroker()
    bus = Refusing(broker, refused, max_bytes)
    url = f"http://127.0.0.1:{inference.port}"
    own = TopicBridgeSettings(inference_url=url, **settings)
    connection = Connection("inference", url, first_s=0.02, longest_s=0.1)
    requests = bus.subscribe(TOPICS.request_topic)
    metrics_registry = CollectorRegistry()
    metrics = Metrics(metrics_registry)
    running = Line(broker, requests, connection, metrics, metrics_registry)
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        link = InferenceLink(client, connection)
        bridge = TopicBridge(
            bus=bus,
            requests=requests,
            inference=link,
            settings=own,
            topics=TOPICS,
            metrics=metrics,
            faults=MessageFaults("topic_bridge", metrics_registry),
        )
        tasks = [asyncio.create_task(link.supervise()), asyncio.create_task(bridge.run())]
        try:
            yield running
        finally:
            for task in tasks:
                task.cancel()
            await bridge.drain(0.0)
            await asyncio.gather(*tasks, return_exceptions=True)
    assert (running.failed > 0) is bool(refused)


@pytest.fixture
async def inference() -> AsyncIterator[Inference]:
    service = Inference()
    await service.start()
    yield service
    await service.stop()


async def test_a_request_becomes_a_result_and_is_acknowledged_after_it(inference) -> None:
    inference.gates["P-1"].clear()
    async with line(inference) as running:
        asked = request("P-1")
        await running.ask(asked)
        await until(lambda: inference.calls)
        assert len(running.requests.unacknowledged) == 1
        assert running.results == []
        inference.gates["P-1"].set()
        await until(lambda: running.results and not running.requests.unacknowledged)
        [result] = running.results
        assert (result.request_id, result.context.part_id) == (asked.id, "P-1")
        assert result.time.published is not None


async def test_one_station_in_order_others_beside_it(inference) -> None:
    inference.gates["slow"].clear()
    async with line(inference) as running:
        await running.ask(request("slow", "a"), request("next", "a"), request("other", "b"))
        await until(lambda: running.results)
        assert [result.context.part_id for result in running.results] == ["other"]
        assert "next" not in [call["context"]["part_id"] for call in inference.calls]
        inference.gates["slow"].set()
        await until(lambda: len(running.results) == 3)
        assert [result.context.part_id for result in running.results] == ["other", "slow", "next"]


async def test_a_flood_for_one_station_holds_up_no_other(inference) -> None:
    inference.gates["flood-0"].clear()
    async with line(inference, concurrency=1) as running:
        await running.ask(*(request(f"flood-{number}", "other") for number in range(300)), request("P-1"))
        await until(lambda: len(running.requests.unacknowledged) == 301)
        inference.gates["flood-0"].set()
        await until(lambda: "P-1" in [result.context.part_id for result in running.results])
        assert [call["context"]["part_id"] for call in inference.calls].index("P-1") <= 2
        await until(lambda: len(running.results) == 301)


async def test_what_waited_past_its_deadline_is_answered_without_a_call(inference) -> None:
    inference.gates["slow"].clear()
    async with line(inference, concurrency=1) as running:
        await running.ask(request("slow"), request("late", deadline_ms=1), request("late", "b", deadline_ms=1))
        await running.ask(request("good"))
        await until(lambda: len(running.requests.unacknowledged) == 4)
        began = utc_now()
        await until(lambda: utc_now() - began > timedelta(milliseconds=2))
        inference.gates["slow"].set()
        await until(lambda: len(running.results) == 4 and not running.requests.unacknowledged)
        late = [result for result in running.results if result.context.part_id == "late"]
        assert [(one.status, one.verdict, one.code) for one in late] == [("expired", "unknown", "deadline-passed")] * 2
        assert [call["context"]["part_id"] for call in inference.calls] == ["slow", "good"]


async def test_calls_at_the_same_time_are_bounded(inference) -> None:
    parts = [f"P-{number}" for number in range(6)]
    for part in parts:
        inference.gates[part].clear()
    async with line(inference, concurrency=2) as running:
        await running.ask(*(request(part, station=part) for part in parts))
        await until(lambda: inference.running == 2)
        for part in parts:
            inference.gates[part].set()
        await until(lambda: len(running.results) == 6)
        assert inference.most == 2


async def test_while_inference_is_away_requests_wait_unacknowledged(inference) -> None:
    async with line(inference) as running:
        await running.ask(request("P-1"))
        await until(lambda: len(running.results) == 1)
        await inference.stop()
        await running.ask(request("P-2"), request("P-3"))
        await until(lambda: running.link.state is State.BACKOFF)
        assert len(running.results) == 1
        assert len(running.requests.unacknowledged) == 2
        await inference.start()
        await until(lambda: len(running.results) == 3 and not running.requests.unacknowledged)
        assert [result.context.part_id for result in running.results] == ["P-1", "P-2", "P-3"]


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_service_is_asked_again(inference, status: int) -> None:
    answers = [Response(status_code=status), Response(status_code=status)]
    inference.answer = lambda document: answers.pop() if answers else Response(to_json(result_of(document)))
    async with line(inference) as running:
        await running.ask(request("P-1"))
        await until(lambda: running.results)
        assert len({call["id"] for call in inference.calls}) == 1
        assert len(inference.calls) == 3


@pytest.mark.parametrize(
    ("payload", "code", "says"),
    [
        (b"{not json", "not-json", "not JSON"),
        (b'{"schema":"lineside/request/7","id":"abc"}', "schema-unsupported", "'lineside/request/7' is not supported"),
        (b'{"schema":"lineside/request/1","id":"abc"}', "message-invalid", "model: Field required"),
        (
            b'{"schema":"lineside/request/1","source":{"url":"http://u:p@cam/?t=s"}}',
            "message-invalid",
            "id: Field required",
        ),
        (b" " * 7000, "message-too-large", "7000 bytes, allowed are 6144"),
    ],
)
async def test_what_cannot_be_understood_is_answered_on_the_error_topic(inference, payload, code, says) -> None:
    async with line(inference) as running:
        await running.ask(payload, request("after"))
        await until(lambda: running.errors and running.results and not running.requests.unacknowledged)
        [error] = running.errors
        assert error["code"] == code
        assert says in error["reason"]
        assert error["excerpt"] == payload[:256].decode().replace("u:p@cam/?t=s", "...@cam/?...")
        assert error["request_id"] == ("abc" if b"abc" in payload else None)
        assert [call["context"]["part_id"] for call in inference.calls] == ["after"]


@pytest.mark.parametrize(
    ("answer", "code", "calls"),
    [
        (lambda _: JSONResponse({"code": "body-too-large", "detail": "too big"}, 413), "body-too-large", 1),
        (lambda _: Response("oops", 500), "http-500", 3),
        (lambda _: Response("<html>", 200), "inference-answer", 1),
    ],
)
async def test_an_answer_that_is_no_result_is_reported_and_does_not_block(inference, answer, code, calls) -> None:
    inference.answer = answer
    async with line(inference) as running:
        await running.ask(request("P-1"))
        await until(lambda: running.errors and not running.requests.unacknowledged)
        assert running.errors[0]["code"] == code
        assert len(inference.calls) == calls


async def test_a_result_that_was_not_published_is_asked_for_again_under_the_same_id(inference) -> None:
    async with line(inference) as running:
        inference.gates["P-1"].clear()
        await running.ask(request("P-1"))
        await until(lambda: inference.calls)
        running.broker.online = False
        inference.gates["P-1"].set()
        await until(lambda: inference.running == 0)
        assert len(running.requests.unacknowledged) == 1
        running.broker.online = True
        await until(lambda: not running.requests.unacknowledged and len(running.results) == 2)
        assert len({result.request_id for result in running.results}) == 1


async def test_of_two_requests_with_one_id_the_first_is_asked_first(
    inference,
) -> None:
    inference.gates["before"].clear()
    async with line(inference) as running:
        ours = request("P-1", "a")
        forged = ours.model_copy(update={"context": Context(station="b", part_id="P-9")})
        await running.ask(request("before", "a"), ours, forged, request("other", "b"))
        await until(lambda: inference.calls)
        inference.gates["before"].set()
        await until(lambda: len(running.results) == 4)
        assert [call["context"]["part_id"] for call in inference.calls if call["id"] == ours.id] == ["P-1", "P-9"]


async def test_an_error_report_says_by_its_digest_which_message_it_is_about(inference) -> None:
    async with line(inference) as running:
        await running.ask(b"{not json")
        await until(lambda: running.errors)
        assert running.errors[0]["digest"] == hashlib.sha256(b"{not json").hexdigest()


async def test_a_message_whose_error_report_the_broker_refuses_is_let_go(inference) -> None:
    async with line(inference, refused=f"{TOPICS.result_topic}/error") as running:
        await running.ask(b"{not json", request("after"))
        await until(lambda: running.results and not running.requests.unacknowledged)
        assert [result.context.part_id for result in running.results] == ["after"]
        assert running.failed == 1


async def test_a_result_that_the_broker_will_not_take_goes_out_without_its_details(inference) -> None:
    scores = {f"label {number}": 0.5 for number in range(100)}
    inference.answer = lambda document: Response(to_json(result_of(document).model_copy(update={"scores": scores})))
    async with line(inference, max_bytes=1500) as running:
        await running.ask(request("P-1"))
        await until(lambda: running.results)
        [result] = running.results
        assert (result.verdict, result.scores, running.errors) == ("pass", {}, [])


async def test_while_inference_is_away_who_asked_hears_it_before_the_deadline_and_the_request_waits_on(
    inference: Inference,
) -> None:
    async with line(inference) as running:
        await until(lambda: running.link.state is State.ONLINE)
        await inference.stop()
        patient = request("P-1").model_copy(update={"deadline_ms": 600_000.0})
        hurried = request("P-2", "station-2").model_copy(update={"deadline_ms": 300.0})
        await running.ask(patient, hurried)
        await until(lambda: running.errors)
        assert not running.results
        await inference.start()
        await until(lambda: len(running.results) == 2 and not running.requests.unacknowledged)
        assert {result.request_id for result in running.results} == {patient.id, hurried.id}
        (report,) = running.errors
        assert (report["code"], report["request_id"]) == ("inference-away", hurried.id)
        assert "does not answer" in report["reason"]
