"""Carries outcomes (what the PLC got for each part) and services' states from the bus to the inference service.

An outcome is acknowledged once the inference service has taken it, which answers when its history has it on the disk:
a restart of either loses none. Several are on their way at a time, so that the service writes them together. One that
it refuses, or is too busy for after some tries, is counted and dropped: it must not delay those behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter

from lineside.backoff import Backoff
from lineside.bus import Message, Subscription
from lineside.bus.faults import MessageFaults
from lineside_topic_bridge.inference import BUSY, InferenceAway, InferenceLink

log = structlog.get_logger("lineside.topic_bridge")

_TIMEOUT_S = 5.0
_TRIES = 8
_BACKOFF = Backoff(first_s=0.05, longest_s=6.4)


AT_ONCE = 16
"""Outcomes that are on their way to the inference service at a time."""


class OutcomeCarrier:
    """Brings outcomes, begun in the order in which they came, until it is cancelled."""

    def __init__(
        self,
        *,
        outcomes: Subscription,
        inference: InferenceLink,
        faults: MessageFaults,
        max_bytes: int,
        registry: CollectorRegistry,
    ) -> None:
        self._outcomes = outcomes
        self._faults = faults
        self._inference = inference
        self._max_bytes = max_bytes
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._counts = Counter(
            "lineside_topic_bridge_outcomes_total",
            "Outcomes of parts by what became of them: taken, refused (by the inference service), given_up (no place).",
            ["kind"],
            registry=registry,
        )
        for kind in ("taken", "refused", "given_up"):
            self._counts.labels(kind)

    async def run(self) -> None:
        """Bring for ever."""
        try:
            async for message in self._outcomes:
                await self._places.acquire()
                task = asyncio.create_task(self._carry(message))
                self._under_way.add(task)
                task.add_done_callback(self._ended)
        finally:
            for task in self._under_way:
                task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._places.release()

    async def _carry(self, message: Message) -> None:
        try:
            kind = "refused" if len(message.payload) > self._max_bytes else await self._bring(message)
        except Exception as error:  # noqa: BLE001 - no message ends the service
            self._faults.failed(message, error)
            return
        self._counts.labels(kind).inc()
        message.ack()

    async def _bring(self, message: Message) -> str:
        for busy in range(_TRIES):
            answer = await patiently(lambda: self._inference.post("/v1/outcomes", message.payload, _TIMEOUT_S))
            if answer.is_success:
                return "taken"
            if answer.status_code not in BUSY:
                log.warning("an outcome was refused", status=answer.status_code, answer=answer.text[:300])
                return "refused"
            await asyncio.sleep(_BACKOFF.wait_s(busy))
        log.warning("an outcome was given up: the inference service has no place for it", status=answer.status_code)
        return "given_up"


async def patiently(call: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    """Return the answer, however long the inference service is away."""
    while True:
        try:
            return await call()
        except InferenceAway as error:
            log.info("inference is away; an outcome waits", error=error.what)


async def carry_status(states: Subscription, inference: InferenceLink, faults: MessageFaults) -> None:
    """Carry other services' states, for ever; one that cannot be delivered at once is dropped: the next replaces it."""
    async for message in states:
        message.ack()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                answer = await inference.post("/v1/status", message.payload, _TIMEOUT_S)
        except (InferenceAway, TimeoutError):
            continue
        except Exception as error:  # noqa: BLE001 - no message ends the service
            faults.failed(message, error)
            continue
        if not answer.is_success:
            log.debug("a service's status was refused", status=answer.status_code, answer=answer.text[:300])
