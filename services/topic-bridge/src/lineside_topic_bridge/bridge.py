"""One request's way over the bus: take, call, publish the result, and only then acknowledge.

Requests of one station are answered in order, stations side by side and in turns. What waited until past its deadline
is answered `expired` without a call. While the inference service is away nothing is acknowledged: the broker keeps
the requests. A message that cannot be understood is answered on `<result topic>/error` and acknowledged, because
trying again cannot help.
"""

import asyncio
import hashlib
from datetime import datetime
from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from pydantic_core import from_json

from lineside.backoff import Backoff
from lineside.bus import Bus, Message, Subscription
from lineside.bus.faults import MessageFaults
from lineside.contract import (
    ErrorReport,
    Request,
    Result,
    Times,
    Unreadable,
    parse_request,
    parse_result,
    to_json,
    utc_now,
    uuid7,
)
from lineside.errors import LinesideError, MessageRefused
from lineside.secrecy import excerpt, hidden
from lineside.settings import BusSettings
from lineside.telemetry import about_request
from lineside_topic_bridge.inference import BUSY, InferenceAway, InferenceLink
from lineside_topic_bridge.settings import TopicBridgeSettings
from lineside_topic_bridge.truncate import truncate
from lineside_topic_bridge.turns import Turns

log = structlog.get_logger("lineside.topic_bridge")

_TRIES_OF_A_FAULT = 3
_MIN_BYTES = 1024
"""What every broker should take; the least that bus.max_message_bytes may be."""
_BACKOFF = Backoff(first_s=0.05, longest_s=1.0)
"""While the inference service is busy."""
_SHARE_TO_WAIT = 0.9
"""How much of a request's time the inference service is waited for before its absence is said."""


class Metrics:
    """What the topic-bridge counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.results = Counter(
            "lineside_topic_bridge_results_total", "Results published, by status.", ["status"], registry=registry
        )
        self.errors = Counter(
            "lineside_topic_bridge_errors_total", "Messages answered on the error topic.", ["code"], registry=registry
        )
        self.retries = Counter(
            "lineside_topic_bridge_retries_total", "Calls made again, by cause.", ["cause"], registry=registry
        )
        self.held = Gauge(
            "lineside_topic_bridge_held_messages", "Requests taken and not yet acknowledged.", registry=registry
        )
        self.seconds = Histogram(
            "lineside_topic_bridge_request_seconds",
            "From taking a request to its acknowledgement.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 1, 5, 30),
            registry=registry,
        )


class Refused(LinesideError):
    """The message goes to the error topic; `reason_code` says why."""

    def __init__(self, code: str, reason: str, request_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason_code = code
        self.request_id = request_id


class TopicBridge:
    """Takes requests from a subscription until it is cancelled; `drain` lets work under way end."""

    def __init__(
        self,
        *,
        bus: Bus,
        requests: Subscription,
        inference: InferenceLink,
        settings: TopicBridgeSettings,
        topics: BusSettings,
        metrics: Metrics,
        faults: MessageFaults,
    ) -> None:
        self._bus = bus
        self._faults = faults
        self._requests = requests
        self._inference = inference
        self._settings = settings
        self._topics = topics
        self._metrics = metrics
        self._turns = Turns(settings.concurrency, settings.overload_first)
        self._places = asyncio.Semaphore(topics.max_inflight)
        self._last_of: dict[tuple[str, str], asyncio.Task[None]] = {}
        """The newest work of each station, and of each request id: what comes next of either waits for it."""
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take requests for ever, at most `bus.max_inflight` at a time."""
        async for message in self._requests:
            await self._places.acquire()
            self._start(message)

    async def drain(self, seconds: float) -> None:
        """Wait for the work under way; what does not end in time comes again where the bus redelivers."""
        if not self._under_way:
            return
        _done, pending = await asyncio.wait(self._under_way, timeout=seconds)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        if pending:
            fate = "left to the broker" if self._bus.promises.redelivers else "lost: this bus gives nothing twice"
            log.warning("requests without an answer at the stop", requests=len(pending), fate=fate)

    def _start(self, message: Message) -> None:
        keys: list[tuple[str, str]] = []
        try:
            request = self._understand(message)
        except Refused as refused:
            work = self._refuse(message, refused)
        except Exception as error:
            log.exception("a request could not be read")
            work = self._refuse(message, Refused("internal-error", repr(error)))
        else:
            # By its id too: of two requests with one id the first counts, whichever station the second names.
            keys = [("station", request.context.station or request.model), ("id", request.id)]
            work = self._answer(message, request, {self._last_of[key] for key in keys if key in self._last_of})
        task = asyncio.create_task(work)
        self._under_way.add(task)
        self._last_of.update(dict.fromkeys(keys, task))
        task.add_done_callback(lambda ended: self._ended(ended, message, keys))
        self._metrics.held.inc()

    def _ended(self, task: asyncio.Task[None], message: Message, keys: list[tuple[str, str]]) -> None:
        self._under_way.discard(task)
        self._places.release()
        self._metrics.held.dec()
        for key in keys:
            if self._last_of.get(key) is task:
                del self._last_of[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            # Not even the error report went out. To keep the message would hold up all that come after it.
            self._faults.failed(message, error)

    def _understand(self, message: Message) -> Request:
        if len(message.payload) > self._topics.max_message_bytes:
            raise Refused(
                "message-too-large",
                f"the message has {len(message.payload)} bytes, allowed are {self._topics.max_message_bytes} "
                "(bus.max_message_bytes); send a reference (camera, file, url) instead of the pixels",
            )
        try:
            return parse_request(message.payload)
        except Unreadable as error:
            raise Refused(error.code, error.reason, error.request_id) from None

    async def _answer(self, message: Message, request: Request, before: set[asyncio.Task[None]]) -> None:
        started, taken = asyncio.get_running_loop().time(), utc_now()
        context = request.context
        station = context.station or request.model
        with about_request(request.id, station=context.station, part_id=context.part_id):
            if before:
                await asyncio.wait(before)
            try:
                async with self._turns.one(station) as has_waited:
                    result = expired(request, taken, utc_now()) if before or has_waited else None
                    if result is None:
                        result = parse_result((await self._call(message, request)).content)
                        self._turns.answered(station)
                await self._tell(result)
            except Refused as refused:
                await self._refuse(message, refused)
                return
            except Unreadable as error:
                await self._refuse(message, Refused("inference-answer", error.reason, request.id))
                return
            except Exception as error:
                log.exception("request failed in the topic-bridge")
                await self._refuse(message, Refused("internal-error", repr(error), request.id))
                return
            message.ack()
            self._metrics.results.labels(result.status).inc()
            self._metrics.seconds.observe(asyncio.get_running_loop().time() - started)
            log.debug("answered", status=result.status, verdict=result.verdict)

    async def _tell(self, result: Result) -> None:
        """Publish a result; where the broker will not take it, without the details that make it long."""
        try:
            payload = truncate(result, self._topics.max_message_bytes, utc_now())
            await self._bus.publish(self._topics.result_topic, payload)
        except MessageRefused as error:
            log.warning("the broker will not take a result; its details are left out", reason=error.what)
            await self._bus.publish(self._topics.result_topic, truncate(result, _MIN_BYTES, utc_now()))

    async def _call(self, message: Message, request: Request) -> httpx.Response:
        """Return a 200; wait out what is transient; raise Refused for what cannot succeed.

        Who asked hears at once, or shortly before the deadline, that the service is away; the request waits on.
        """
        is_said = False
        timeout_s = (request.deadline_ms or 0.0) / 1000 + self._settings.answer_timeout_s
        busy = faults = 0
        while True:
            is_said = is_said or await self._said_away(message, request)
            try:
                response = await self._inference.infer(message.payload, timeout_s)
            except InferenceAway as error:
                log.warning("inference is away; the request waits", error=error.what)
                self._metrics.retries.labels("away").inc()
                continue
            if response.status_code == httpx.codes.OK:
                return response
            if response.status_code in BUSY:
                self._metrics.retries.labels("busy").inc()
                await asyncio.sleep(_BACKOFF.wait_s(busy))
                busy += 1
                continue
            faults += 1
            if response.is_server_error and faults < _TRIES_OF_A_FAULT:
                self._metrics.retries.labels("fault").inc()
                await asyncio.sleep(_BACKOFF.wait_s(busy))
                continue
            raise _refusal(response, request.id)

    async def _said_away(self, message: Message, request: Request) -> bool:
        """Say on the error topic that inference is away, where it is not back in time; return whether that was said."""
        now = utc_now()
        expires = request.expires(now)
        left = (expires - now).total_seconds() if expires else 0.0
        if left <= 0 or await self._inference.is_back_within(left * _SHARE_TO_WAIT):
            return False
        why = f"the inference service does not answer: {self._inference.trouble}"
        await self._report(message, Refused("inference-away", why, request.id))
        return True

    async def _refuse(self, message: Message, refused: Refused) -> None:
        await self._report(message, refused)
        message.ack()

    async def _report(self, message: Message, refused: Refused) -> None:
        reason = hidden(refused.what)
        log.warning("message refused", code=refused.reason_code, reason=reason, refused_request_id=refused.request_id)
        report = ErrorReport(
            id=uuid7(),
            request_id=refused.request_id,
            code=refused.reason_code,
            reason=reason[:1024],
            topic=message.topic,
            excerpt=excerpt(message.payload),
            digest=hashlib.sha256(message.payload).hexdigest(),
            time=Times(published=utc_now()),
        )
        await self._bus.publish(f"{self._topics.result_topic}/error", to_json(report))
        self._metrics.errors.labels(refused.reason_code).inc()


def expired(request: Request, taken: datetime, now: datetime) -> Result | None:
    """Return the Result of a request whose deadline has passed, None for any other; it was taken from the bus then."""
    expires = request.expires(taken)
    if expires is None or now < expires:
        return None
    return Result(
        id=uuid7(),
        request_id=request.id,
        status="expired",
        verdict="unknown",
        reason="the deadline passed while others were being judged. Ask less often, or give a later deadline",
        code="deadline-passed",
        context=request.context,
        time=Times(received=taken),
        traceparent=request.traceparent,
    )


def _refusal(response: httpx.Response, request_id: str) -> Refused:
    """Return the inference service's own words for what it refused, from its problem+json."""
    problem: dict[str, Any] = {}
    try:
        body = from_json(response.content)
        problem = body if isinstance(body, dict) else {}
    except ValueError:
        pass
    code = str(problem.get("code") or f"http-{response.status_code}")
    detail = str(problem.get("detail") or problem.get("title") or response.text[:200])
    return Refused(code, f"the inference service answered {response.status_code}: {detail}", request_id)
