"""Publishes which policy is in force, however it came into force.

    lineside/<thing>/policy/reported
        {"policy", "enabled", "etag", "state", "errors", "time", "source", "steering"}, retained by us

`state` says what became of what was wished last, `applied` or `refused`; a policy that was put over HTTP or by the page
is `applied`. `policy` is the one in force after it, null where it is not known or too long for a message; `enabled` is
its switch by itself, which the opcua-bridge follows. `steering` names the sources that wish something, in their order.
`source` is the first of them; `other` where the policy in force is none of theirs, null where that was in force before
our start.

The inference service knows no bus, so it is asked about every second; nothing is told while nothing changes. Only
this service may publish there: where another report appears, such as a forged pause, ours is published again.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import structlog
from prometheus_client import CollectorRegistry, Counter
from pydantic_core import from_json

from lineside.backoff import Backoff
from lineside.bus import Bus, Message
from lineside.contract import utc_now
from lineside.errors import BusError, MessageRefused
from lineside.secrecy import excerpt
from lineside_topic_bridge.inference import InferenceAway, InferenceLink

log = structlog.get_logger("lineside.topic_bridge")

_TIMEOUT_S = 5.0
_PERIOD_S = 1.0
_REPEAT_S = 2.0
"""How often it is told again where nothing is retained: for so long a bridge that starts does not know of a pause."""
_LONGEST_WAIT_S = 5.0
_MAX_SENT = 16


def in_force(answer: httpx.Response) -> dict[str, Any] | None:
    """Return `policy` and `etag` of an answer of `GET /v1/policy`, None where it is none."""
    try:
        policy = from_json(answer.content) if answer.is_success else None
    except ValueError:
        return None
    return {"policy": policy, "etag": answer.headers.get("etag")} if isinstance(policy, dict) else None


def news(found: dict[str, Any], told: dict[str, Any] | None, now: str) -> dict[str, Any] | None:
    """Return what has to be told about the policy `found` after `told`, None where that says it already.

    A refusal that did not know the policy in force is told again with it, so that its errors are not lost.
    """
    if told is None:
        return {**found, "state": "applied", "errors": [], "time": now, "source": None, "steering": []}
    if told["policy"] is None and told["state"] == "refused":
        return {**told, **found}
    if (told["policy"], told["etag"]) == (found["policy"], found["etag"]):
        return None
    steering = told.get("steering", [])
    return {**found, "state": "applied", "errors": [], "time": now, "source": "other", "steering": steering}


def document(outcome: dict[str, Any], max_bytes: int) -> bytes:
    """Return an outcome as the message; where the policy makes it too long, that is left out."""
    policy = outcome["policy"]
    whole = {"policy": policy, "enabled": policy.get("enabled", True) if policy is not None else None, **outcome}
    payload = json.dumps(whole).encode()
    return payload if len(payload) <= max_bytes else json.dumps({**whole, "policy": None}).encode()


def foreign_counter(registry: CollectorRegistry | None) -> Counter:
    """Return the counter of other clients' reports."""
    return Counter(
        "lineside_topic_bridge_foreign_reports_total",
        "Reports of the policy in force that somebody else put on our topic; ours was told again.",
        registry=registry,
    )


def _meaning(report: bytes) -> object:
    """Return what a report says without its time; the bytes where it is none."""
    try:
        said = from_json(report)
    except ValueError:
        return report
    return {name: value for name, value in said.items() if name != "time"} if isinstance(said, dict) else report


class PolicyReporter:
    """Tells what `tell` is given, by `run` each other change of the policy in force; ours again by two others."""

    def __init__(
        self,
        *,
        bus: Bus,
        topic: str,
        inference: InferenceLink,
        max_bytes: int,
        period_s: float = _PERIOD_S,
        repeat_s: float = _REPEAT_S,
        registry: CollectorRegistry | None = None,
        tell_too: Callable[[Mapping[str, Any]], None] = lambda _outcome: None,
    ) -> None:
        """Tell on `topic`; `tell_too` gets what is told there, before it is."""
        self._bus = bus
        self._tell_too = tell_too
        self._topic = topic
        self._inference = inference
        self._max_bytes = max_bytes
        self._period_s = period_s
        self._repeat_s = repeat_s
        self._told: dict[str, Any] | None = None
        self._in_force: dict[str, Any] | None = None
        self._number = 0
        self._turn = asyncio.Lock()
        self._sent: deque[bytes] = deque(maxlen=_MAX_SENT)
        """What we put on the topic and have not seen there yet, oldest first."""
        self._wrong = asyncio.Event()
        self._foreign = foreign_counter(registry)

    @property
    def told(self) -> Mapping[str, Any] | None:
        """What was told last; None: nothing yet."""
        return self._told

    def take(self, message: Message) -> None:
        """Look at what stands on the topic."""
        if message.payload in self._sent:
            while self._sent.popleft() != message.payload:
                pass
        elif self._told is not None and _meaning(message.payload) != _meaning(document(self._told, self._max_bytes)):
            self._foreign.inc()
            log.error(
                "somebody else reports a policy on our topic; ours is told again",
                topic=message.topic,
                excerpt=excerpt(message.payload),
                remedy="let nobody but the topic-bridge of this thing publish there: see secure-the-broker.md",
            )
            self._wrong.set()

    async def correct(self) -> None:
        """Tell ours again where `take` saw another, for ever; at most once in each period."""
        while True:
            await self._wrong.wait()
            self._wrong.clear()
            async with self._turn:
                if self._told is not None:
                    await self._publish(self._told)
            await asyncio.sleep(self._period_s)

    async def repeat(self) -> None:
        """Tell ours again and again where the bus retains nothing, for who comes later, for ever."""
        while True:
            await asyncio.sleep(self._repeat_s)
            async with self._turn:
                if self._told is not None and not self._bus.promises.retains:
                    await self._publish(self._told)

    async def run(self) -> None:
        """Look for changes, for ever."""
        problem, failures = "", 0
        backoff = Backoff(self._period_s, _LONGEST_WAIT_S)
        while True:
            number = self._number
            try:
                answer = await self._inference.get_policy(_TIMEOUT_S)
                found = in_force(answer)
                trouble = "" if found else f"the inference service answered {answer.status_code}"
            except InferenceAway as error:
                found, trouble = None, error.what
            if trouble and trouble != problem:
                log.warning("the policy in force is not known", reason=trouble)
            if found:
                await self._compare(found, number)
            problem, failures = trouble, failures + 1 if trouble else 0
            await asyncio.sleep(backoff.wait_s(failures))

    async def _compare(self, found: dict[str, Any], number: int) -> None:
        async with self._turn:
            if number != self._number:
                return  # something else was told meanwhile: the answer may be of the policy before
            self._in_force = found
            if told := news(found, self._told, utc_now().isoformat()):
                log.info("policy in force", etag=found["etag"], enabled=found["policy"].get("enabled"))
                await self._publish(told)

    async def tell(self, outcome: dict[str, Any]) -> None:
        """Tell what became of a desired policy; of one that was refused also which is in force instead."""
        self._number += 1
        if outcome["state"] == "applied":
            self._in_force = {"policy": outcome["policy"], "etag": outcome["etag"]}
        elif self._in_force is not None:
            outcome = {**outcome, **self._in_force}
        async with self._turn:
            await self._publish(outcome)

    async def _publish(self, outcome: dict[str, Any]) -> None:
        self._tell_too(outcome)
        payload, shortest = document(outcome, self._max_bytes), document(outcome, 0)
        while True:
            self._sent.append(payload)
            try:
                await self._bus.publish(self._topic, payload, retain=True)
            except MessageRefused as error:
                log.warning("the broker will not take the policy in force", reason=error.what, remedy=error.remedy)
                if payload == shortest:
                    self._told = outcome  # until it changes
                    return
                payload = shortest
            except BusError as error:
                log.warning("the policy in force is not told yet", reason=error.what)
                await asyncio.sleep(_LONGEST_WAIT_S)
            else:
                self._told = outcome
                return
