"""The Bus over Greengrass IPC: local topics of the nucleus, delivered to who listens now.

What the nucleus does not do, stands in `IpcBus.promises`: it keeps, redelivers and retains nothing, and a connection
that ended is followed by no other one, since our token was of that run of the nucleus. Then `failed` is called, and the
process is to end with an exit status that is not 0: the nucleus starts it again with a fresh token.

Messages are sent as bytes, which are base64 on the wire: a frame of at most 10 000 bytes is all that the lite nucleus
takes, and a longer one costs the connection with all its subscriptions (`GGL_IPC_MAX_MSG_LEN`). Others may publish JSON
documents on our topics: those are taken as their text.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.bus import Promises
from lineside.connections import Connection
from lineside.errors import BacklogFull, BusError, MessageRefused
from lineside.greengrass.client import Client
from lineside.greengrass.errors import Conflict, ConnectionEnded, GreengrassError, NotFound, Refused, Unauthorized
from lineside.settings import BusSettings
from lineside.threads import hand_over, run_abandonable

log = structlog.get_logger("lineside.bus")

MAX_PAYLOAD_BYTES = 6144
"""In base64 8192; the rest of the lite nucleus' frame of 10 000 is for a topic of 256 bytes, headers and names."""
ANSWER_S = 30.0
"""A nucleus that leaves a request unanswered for so long counts as gone."""


@dataclass(frozen=True)
class IpcMessage:
    """One message; the nucleus has forgotten it."""

    topic: str
    payload: bytes
    after_gap: bool

    def ack(self) -> None:
        """Do nothing: nobody waits for it."""


class IpcSubscription:
    """The messages of one topic; see lineside.bus.Subscription."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: asyncio.Queue[IpcMessage] = asyncio.Queue()
        self.gap = True
        """Whether messages may be missing before the next one."""

    async def __aiter__(self) -> AsyncIterator[IpcMessage]:
        """Iterate for ever."""
        while True:
            yield await self.messages.get()


class IpcBus:
    """A Bus on the nucleus' local topics; see lineside.bus.Bus.

    `name` is the service's, for the metrics `lineside_<name>_bus_backlog_messages` and
    `lineside_<name>_bus_dropped_messages_total`. `failed` is called with the reason once the connection has ended, or
    could not be made. The client is the process's, and stays open when the bus is left.
    """

    promises = Promises(keeps=False, redelivers=False, retains=False, reconnects=False)

    def __init__(
        self,
        settings: BusSettings,
        *,
        ipc: Client,
        name: str,
        connection: Connection,
        registry: CollectorRegistry | None = None,
        failed: Callable[[str], None] = lambda _reason: None,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._settings = settings
        self._ipc = ipc
        self._connection = connection
        self._failed = failed
        self._answer_s = answer_s
        self._subscriptions: dict[str, IpcSubscription] = {}
        self._due: list[IpcSubscription] = []
        self._streams: dict[str, Callable[[], object]] = {}
        self._wake = asyncio.Event()
        self._usable = asyncio.Event()
        """Set once connected, and once that is over, for those who wait."""
        self._ended: str | None = None
        self._backlog = 0
        self._supervisor: asyncio.Task[None] | None = None
        prefix = f"lineside_{name.replace('-', '_')}_bus"
        self._dropped = Counter(
            f"{prefix}_dropped_messages_total",
            "Messages beyond bus.max_inflight that waited to be handled; dropped.",
            registry=registry,
        )
        Gauge(
            f"{prefix}_backlog_messages", "Messages of ours that wait for the nucleus.", registry=registry
        ).set_function(lambda: self._backlog)

    def subscribe(self, topic: str) -> IpcSubscription:
        """Return the messages of one topic (no wildcards); call before the bus is entered."""
        if self._supervisor is not None:
            raise RuntimeError("subscribe before the bus is entered")
        return self._subscriptions.setdefault(topic, IpcSubscription(topic))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Return once the nucleus has handed the message to who listens; nothing is kept for others.

        `retain` and `keep` change nothing. Messages are sent in the order of the calls.

        Raises MessageRefused where the message is longer than MAX_PAYLOAD_BYTES, or where the nucleus refuses it (the
        error names component, operation, topic and the lines that the recipe lacks); BacklogFull at once when
        `bus.max_backlog` messages wait already; BusError, not transient, when the connection ended.
        """
        del retain, keep
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageRefused(
                f"a message of {len(payload)} bytes on {topic!r}; Greengrass IPC takes {MAX_PAYLOAD_BYTES} at most",
                remedy="send less, or a reference: bus.max_message_bytes bounds what we make",
            )
        if self._backlog >= self._settings.max_backlog:
            raise BacklogFull(
                f"{self._backlog} messages wait for the Greengrass nucleus already",
                remedy="see whether the nucleus runs; bus.max_backlog sets the bound",
            )
        self._backlog += 1
        try:
            await self._usable.wait()
            await self._publish(topic, payload)
        finally:
            self._backlog -= 1

    async def _publish(self, topic: str, payload: bytes) -> None:
        if self._ended is not None:
            raise BusError(f"the connection to the Greengrass nucleus ended: {self._ended}", transient=False)
        shape = self._ipc.shape
        message = shape("PublishMessage", binary_message=shape("BinaryMessage", message=payload))
        try:
            await self._answer("PublishToTopic", topic=topic, publish_message=message)
        except ConnectionEnded as error:
            raise BusError(error.what, remedy=error.remedy, transient=False) from None
        except (Unauthorized, Refused, NotFound, Conflict) as error:
            raise MessageRefused(error.what, remedy=error.remedy) from None

    async def _answer(self, operation: str, **fields: Any) -> Any:
        """Return the response to a request; one that does not come ends the connection. Raises GreengrassError."""
        return await self._in_time(self._ipc.ask(operation, **fields), operation)

    async def _in_time(self, asked: Future[Any], operation: str) -> Any:
        answer = asyncio.wrap_future(asked)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also where nobody waits
        try:
            return await asyncio.wait_for(asyncio.shield(answer), self._answer_s)
        except TimeoutError:
            reason = f"the nucleus did not answer {operation} within {self._answer_s:g} s"
            self._end(reason)
            raise ConnectionEnded(reason, remedy="see whether the nucleus runs, and its log") from None

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._live(), name="greengrass ipc bus")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._failed = lambda _reason: None
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        for close in self._streams.values():
            close()
        self._streams.clear()

    async def _live(self) -> None:
        """Connect, keep every subscription, and see the connection's end."""
        loop = asyncio.get_running_loop()
        self._connection.connecting()
        try:
            await run_abandonable(self._ipc.connect, "greengrass connect")
        except GreengrassError as error:
            self._end(self._ipc.ended or str(error))
            return
        self._ipc.when_ended(lambda reason: hand_over(loop, self._end, reason))
        self._usable.set()
        self._due = list(self._subscriptions.values())
        while not self._is_over():
            self._wake.clear()
            problem = await self._listen()
            if self._is_over():
                return
            if problem:
                await asyncio.sleep(self._connection.backoff(problem))
                continue
            self._connection.online("Greengrass IPC: keeps, retains and redelivers nothing")
            await self._wake.wait()

    def _is_over(self) -> bool:
        return self._ended is not None

    async def _listen(self) -> str:
        """Begin the subscriptions that are due; return what is refused, for people, empty where nothing is."""
        problems = []
        for subscription in list(self._due):
            ear = _Ear(subscription, asyncio.get_running_loop(), self)
            # receive_mode: the classic nucleus would else decide by the topic, the lite one sends ours in any case.
            asked = self._ipc.listen(
                "SubscribeToTopic", ear, topic=subscription.topic, receive_mode="RECEIVE_ALL_MESSAGES"
            )
            subscription.gap = True
            try:
                close = await self._in_time(asked, "SubscribeToTopic")
            except ConnectionEnded as error:
                return str(error)
            except GreengrassError as error:
                problems.append(str(error))
            else:
                self._due.remove(subscription)
                self._streams[subscription.topic] = close
        return "; ".join(problems)

    def take(self, subscription: IpcSubscription, payload: bytes) -> None:
        """Queue a message."""
        if subscription.messages.qsize() >= self._settings.max_inflight:
            log.warning("messages come faster than they are handled; dropped", topic=subscription.topic)
            self._dropped.inc()
            subscription.gap = True
            return
        subscription.messages.put_nowait(IpcMessage(subscription.topic, payload, subscription.gap))
        subscription.gap = False

    def miss(self, subscription: IpcSubscription, reason: str) -> None:
        """Know that a message could not be read."""
        log.error("a message of the nucleus could not be read; dropped", topic=subscription.topic, reason=reason)
        subscription.gap = True

    def lose(self, subscription: IpcSubscription) -> None:
        """Subscribe again where a stream ended by itself."""
        if self._streams.pop(subscription.topic, None) is not None and self._ended is None:
            subscription.gap = True
            self._due.append(subscription)
            self._wake.set()

    def _end(self, reason: str) -> None:
        if self._ended is not None:
            return
        self._ended = reason
        self._connection.backoff(reason)
        log.critical(
            "the connection to the Greengrass nucleus ended; the process ends too, to be started with a fresh token",
            component=self._ipc.component.name,
            reason=reason,
        )
        self._usable.set()
        self._wake.set()
        self._failed(f"no Greengrass IPC: {reason}")


class _Ear:
    """Hands one subscription's events from the SDK's thread to the event loop."""

    def __init__(self, subscription: IpcSubscription, loop: asyncio.AbstractEventLoop, bus: IpcBus) -> None:
        self._subscription = subscription
        self._loop = loop
        self._bus = bus

    def event(self, event: Any) -> None:
        """Hand a message over."""
        hand_over(self._loop, self._bus.take, self._subscription, payload_of(event))

    def unreadable(self, reason: str) -> None:
        """Hand the loss of a message over."""
        hand_over(self._loop, self._bus.miss, self._subscription, reason)

    def closed(self) -> None:
        """Hand the stream's end over."""
        hand_over(self._loop, self._bus.lose, self._subscription)


def payload_of(event: Any) -> bytes:
    """Return the message of an event of SubscribeToTopic, a JSON document as its text."""
    if event.binary_message is not None:
        return bytes(event.binary_message.message or b"")
    return json.dumps(event.json_message.message if event.json_message else None).encode()
