"""The shadow through the Greengrass nucleus: the Shadow Manager of the classic one, and the way to AWS IoT of both.

The classic nucleus has the documents on the device, and tells of changes on local topics of the same names; it brings
them to AWS IoT and back where its Shadow Manager is configured to. The lite one has no shadow service: there the
messages of AWS IoT's reserved topics go through its IoT Core proxy (`IotCoreTopics`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any, Protocol

import structlog

from lineside.documents import read_json
from lineside.errors import BusError
from lineside.greengrass.errors import Conflict, ConnectionEnded, GreengrassError, NotFound, Refused
from lineside.threads import hand_over
from lineside_topic_bridge.steering.shadow.ports import ShadowAway, ShadowChanged, ShadowError, ShadowRefuses
from lineside_topic_bridge.steering.shadow.topics import prefix

log = structlog.get_logger("lineside.topic_bridge")

ANSWER_S = 10.0
_QOS = "1"
_MAX_WAITING = 1000
_LITE = "the lite nucleus has no shadow service: set topic_bridge.steering.shadow.by to iot-core there"


class Nucleus(Protocol):
    """What is needed of `lineside.greengrass.client.Client`."""

    def ask(self, operation: str, **fields: Any) -> Future[Any]:
        """Send a request."""

    def listen(self, operation: str, listener: Any, **fields: Any) -> Future[Callable[[], None]]:
        """Begin a stream of events."""


class IpcTransport:
    """A named shadow of the classic nucleus' Shadow Manager; the client is connected before the first call."""

    def __init__(self, nucleus: Nucleus, thing: str, name: str, *, answer_s: float = ANSWER_S) -> None:
        self._nucleus = nucleus
        self._answer_s = answer_s
        self._which = {"thing_name": thing, "shadow_name": name}
        self._topic = prefix(thing, name)
        self._tokens: set[str] = set()
        self._heard: set[str] = set()

    async def listen(self, ring: Callable[[], None]) -> None:
        """Have changes rung: a delta, and what somebody else updated."""
        loop = asyncio.get_running_loop()

        def take(payload: bytes) -> None:
            if not self._is_ours(payload):
                ring()

        for kind in ("delta", "accepted"):
            if kind not in self._heard:
                ear = _Ear(loop, take, ring)
                topic = f"{self._topic}/update/{kind}"
                await self._answer(self._nucleus.listen("SubscribeToTopic", ear, topic=topic))
                self._heard.add(kind)

    async def get(self) -> bytes | None:
        """Return the shadow's document."""
        try:
            answer = await self._answer(self._nucleus.ask("GetThingShadow", **self._which))
        except _NoShadow:
            return None
        return bytes(answer.payload)

    async def update(self, payload: bytes, token: str) -> int:
        """Bring an update."""
        self._tokens.add(token)
        try:
            answer = await self._answer(self._nucleus.ask("UpdateThingShadow", payload=payload, **self._which))
        finally:
            if len(self._tokens) > _MAX_WAITING:
                self._tokens.clear()  # of the rest at most a reading too many comes
        try:
            version = read_json(bytes(answer.payload))["version"]
        except (ValueError, KeyError, TypeError):
            version = None
        if not isinstance(version, int):
            raise ShadowRefuses(f"the answer to an update has no version: {bytes(answer.payload)[:80]!r}")
        return version

    def _is_ours(self, payload: bytes) -> bool:
        try:
            said = read_json(payload)
        except ValueError:
            return False
        token = said.get("clientToken") if isinstance(said, dict) else None
        is_ours = isinstance(token, str) and token in self._tokens
        if is_ours and "desired" not in (said.get("state") or {}):
            self._tokens.discard(token)
        return is_ours

    async def _answer(self, asked: "Future[Any]") -> Any:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asked), self._answer_s)
        except TimeoutError:
            raise ShadowAway(f"the nucleus did not answer about {self._topic} within {self._answer_s:g} s") from None
        except GreengrassError as error:
            raise _named(error) from None


class _NoShadow(ShadowError):
    """There is no such shadow yet."""


def _named(error: GreengrassError) -> ShadowError:
    """Return an error of the nucleus as one of the shadow's."""
    if isinstance(error, NotFound):
        return _NoShadow(error.what)
    if isinstance(error, Conflict):
        return ShadowChanged(error.what)
    if isinstance(error, ConnectionEnded):
        return ShadowAway(error.what, remedy=error.remedy)
    is_lite = isinstance(error, Refused) and "ServiceError" in error.what
    return ShadowRefuses(error.what, remedy=_LITE if is_lite else error.remedy)


class _Ear:
    """Hands a stream's events from the SDK's thread to the event loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes], None], missed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._take = take
        self._missed = missed

    def event(self, event: Any) -> None:
        """Hand a message over, local or of AWS IoT Core."""
        message = getattr(event, "binary_message", None)
        if message is None:
            message = getattr(event, "message", None)
        if message is None:  # JSON, which the Shadow Manager does not send: whatever it is, it rings
            hand_over(self._loop, self._missed)
            return
        payload = message.message if hasattr(message, "message") else message.payload
        hand_over(self._loop, self._take, bytes(payload or b""))

    def unreadable(self, reason: str) -> None:
        """Ring for what could not be read."""
        log.warning("a message about the shadow could not be read", reason=reason)
        hand_over(self._loop, self._missed)

    def closed(self) -> None:
        """Leave it to the end of the connection, which ends the process."""


class IotCoreTopics:
    """Topics of AWS IoT Core, by the nucleus' proxy."""

    def __init__(self, nucleus: Nucleus, *, answer_s: float = ANSWER_S) -> None:
        self._nucleus = nucleus
        self._answer_s = answer_s
        self._subscriptions: dict[str, _Subscription] = {}

    def subscribe(self, topic: str) -> "_Subscription":
        """Return the messages of one topic, from `begin` on."""
        return self._subscriptions.setdefault(topic, _Subscription(topic))

    async def begin(self) -> None:
        """Subscribe to all that were asked for; raises BusError that names what is refused."""
        loop = asyncio.get_running_loop()
        for topic, subscription in self._subscriptions.items():
            if subscription.is_heard:
                continue
            ear = _Ear(loop, subscription.take, lambda: None)
            await self._answer(self._nucleus.listen("SubscribeToIoTCore", ear, topic_name=topic, qos=_QOS))
            subscription.is_heard = True

    async def publish(self, topic: str, payload: bytes) -> None:
        """Hand a message over; raises BusError."""
        await self.begin()
        await self._answer(self._nucleus.ask("PublishToIoTCore", topic_name=topic, qos=_QOS, payload=payload))

    async def _answer(self, asked: "Future[Any]") -> None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(asked), self._answer_s)
        except TimeoutError:
            raise BusError(f"the nucleus did not answer within {self._answer_s:g} s") from None
        except GreengrassError as error:
            raise BusError(error.what, remedy=error.remedy) from None


class _Message:
    """A message of AWS IoT Core; the proxy wants no acknowledgement."""

    after_gap = False

    def __init__(self, topic: str, payload: bytes) -> None:
        self.topic = topic
        self.payload = payload

    def ack(self) -> None:
        """Do nothing: it was forgotten before."""


class _Subscription:
    """The messages of one topic."""

    def __init__(self, topic: str) -> None:
        self.is_heard = False
        self._topic = topic
        self._messages: asyncio.Queue[_Message] = asyncio.Queue()

    def take(self, payload: bytes) -> None:
        """Queue a message."""
        if self._messages.qsize() < _MAX_WAITING:  # what is lost is a bell, or an answer that is asked for again
            self._messages.put_nowait(_Message(self._topic, payload))

    async def __aiter__(self) -> AsyncIterator[_Message]:
        """Iterate for ever."""
        while True:
            yield await self._messages.get()
