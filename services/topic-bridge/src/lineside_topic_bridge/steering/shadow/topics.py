"""The shadow's documents over AWS IoT's reserved topics, `$aws/things/<thing>/shadow/name/<name>/...`.

    get, get/accepted, get/rejected          update, update/accepted, update/rejected          update/delta

Whatever carries them: the IoT Core proxy of a nucleus, or a broker that is bridged to AWS IoT. An answer belongs to a
question by its `clientToken`. The delta is only rung: see `sync`. An accepted update of somebody else is rung too, for
a name that is taken out of `desired` is in no delta.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from lineside.bus import Message, Subscription
from lineside.contract import uuid7
from lineside.documents import read_json
from lineside.errors import BusError
from lineside_topic_bridge.steering.shadow.documents import compact
from lineside_topic_bridge.steering.shadow.ports import ShadowAway, ShadowChanged, ShadowError, ShadowRefuses

log = structlog.get_logger("lineside.topic_bridge")

ANSWER_S = 10.0
_NO_SHADOW, _CONFLICT = 404, 409
_TRANSIENT = frozenset({429, 500})
_HEARD = ("get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta")


class Topics(Protocol):
    """What carries the messages: a Bus does."""

    def subscribe(self, topic: str) -> Subscription:
        """Return the messages of one topic; called before anything is published."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message over; raises BusError."""


def prefix(thing: str, name: str) -> str:
    """Return what the topics of a named shadow begin with."""
    return f"$aws/things/{thing}/shadow/name/{name}"


class TopicsTransport:
    """A shadow behind topics. Make it before the bus is entered."""

    def __init__(self, topics: Topics, thing: str, name: str, *, answer_s: float = ANSWER_S) -> None:
        self._topics = topics
        self._prefix = prefix(thing, name)
        self._answer_s = answer_s
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._heard = {kind: topics.subscribe(f"{self._prefix}/{kind}") for kind in _HEARD}
        self._ring: Callable[[], None] = lambda: None
        self._tasks: list[asyncio.Task[None]] = []

    async def listen(self, ring: Callable[[], None]) -> None:
        """Have changes rung."""
        self._ring = ring
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._hear(kind, messages), name=f"shadow {kind}")
                for kind, messages in self._heard.items()
            ]

    async def get(self) -> bytes | None:
        """Return the shadow's document."""
        token = uuid7()
        kind, payload, said = await self._ask("get", compact({"clientToken": token}), token)
        if kind == "get/accepted":
            return payload
        if said.get("code") == _NO_SHADOW:
            return None
        raise _refusal("get", said)

    async def update(self, payload: bytes, token: str) -> int:
        """Bring an update."""
        kind, _payload, said = await self._ask("update", payload, token)
        version = said.get("version")
        if kind == "update/accepted" and isinstance(version, int):
            return version
        raise _refusal("update", said)

    async def _ask(self, verb: str, payload: bytes, token: str) -> tuple[str, bytes, dict[str, Any]]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[token] = answer
        try:
            async with asyncio.timeout(self._answer_s):
                await self._topics.publish(f"{self._prefix}/{verb}", payload)
                answered: tuple[str, bytes, dict[str, Any]] = await answer
        except TimeoutError:
            raise ShadowAway(
                f"no answer to {verb} on {self._prefix} within {self._answer_s:g} s",
                remedy="is AWS IoT reached, and does the device's policy allow these topics?",
            ) from None
        except BusError as error:
            raise ShadowAway(f"{verb} on {self._prefix} was not sent: {error.what}", remedy=error.remedy) from None
        finally:
            del self._waiting[token]
        return answered

    async def _hear(self, kind: str, messages: Subscription) -> None:
        async for message in messages:
            message.ack()
            self._take(kind, message)

    def _take(self, kind: str, message: Message) -> None:
        try:
            said = read_json(message.payload)
        except ValueError:
            said = None
        token = said.get("clientToken") if isinstance(said, dict) else None
        answer = self._waiting.get(token) if isinstance(token, str) else None
        verb = kind.partition("/")[0]
        if answer is not None and not answer.done() and kind != "update/delta":
            answer.set_result((kind, message.payload, said))
        elif verb == "update" and not kind.endswith("rejected"):
            self._ring()


def _refusal(verb: str, said: dict[str, Any]) -> ShadowError:
    code, reason = said.get("code"), str(said.get("message", "without a reason"))[:200]
    if code == _CONFLICT:
        return ShadowChanged(f"the shadow is another edition by now: {reason}")
    what = f"the shadow answers {verb} with {code}: {reason}"
    return ShadowAway(what) if code in _TRANSIENT else ShadowRefuses(what)
