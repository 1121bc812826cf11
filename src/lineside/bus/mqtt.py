"""The bus over MQTT: QoS 1, a persistent session, acknowledgement after the work is done, our own reconnecting.

paho-mqtt speaks the protocol on a thread of its own. Each connection to the broker is one `_Link` with a paho
client of its own, so that nothing of a lost connection reaches into the next: an acknowledgement of a message of
a lost link goes nowhere (the broker sends the message again), a publish that was not acknowledged is sent again.
What a broker keeps for us while we are away hangs on the client id, which stays the same.
"""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.bus import tls
from lineside.connections import Connection
from lineside.errors import BacklogFull, BusError, LinesideError
from lineside.settings import BusSettings

log = structlog.get_logger("lineside.bus")

CONNECT_TIMEOUT_S = 5.0
SUBSCRIBE_TIMEOUT_S = 30.0
_FAILURE = 128
_SOON_S = 5.0
"""A connection that ends sooner than this may have been taken over by another client with the same id."""
_SPOKEN = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
_SET_PROTOCOL = {"auto": None, "5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


class _LinkLost(Exception):
    """The connection ended before the broker answered."""


class MqttMessage:
    """A message of one link; see lineside.bus.Message."""

    __slots__ = ("_link", "acknowledged", "after_gap", "mid", "payload", "topic")

    def __init__(self, topic: str, payload: bytes, mid: int, link: "_Link") -> None:
        self.topic = topic
        self.payload = payload
        self.mid = mid
        self.acknowledged = False
        self.after_gap = False
        self._link = link

    def ack(self) -> None:
        """Say that the work is done."""
        self.acknowledged = True
        self._link.flush_acknowledgements()


class MqttSubscription:
    """The messages of one topic; see lineside.bus.Subscription."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.messages: asyncio.Queue[MqttMessage] = asyncio.Queue()
        self.gap = True
        """Whether the next message is the first on its connection."""

    async def __aiter__(self) -> AsyncIterator[MqttMessage]:
        """Iterate for ever."""
        while True:
            yield await self.messages.get()


class MqttBus:
    """A Bus on an MQTT broker; see lineside.bus.Bus.

    `client` is the service's name: with the setting's prefix it makes the client id, under which the broker keeps
    the session, or none where `keep` is false. Metrics, where a registry is given:
    `lineside_<client>_bus_backlog_messages` and `lineside_<client>_bus_unrouted_messages_total`.
    """

    def __init__(
        self,
        settings: BusSettings,
        *,
        client: str,
        connection: Connection,
        registry: CollectorRegistry | None = None,
        keep: bool = True,
    ) -> None:
        self._settings = settings
        self._keep = keep
        self._client_id = f"{settings.client_id_prefix}-{client}"
        self._connection = connection
        self._protocol = _SET_PROTOCOL[settings.protocol]
        self._subscriptions: dict[str, MqttSubscription] = {}
        self._link: _Link | None = None
        self._linked = asyncio.Event()
        self._backlog = 0
        self._supervisor: asyncio.Task[None] | None = None
        prefix = f"lineside_{client.replace('-', '_')}_bus"
        self._unrouted = Counter(
            f"{prefix}_unrouted_messages_total",
            "Messages that the broker had kept for a topic that is no longer subscribed; dropped.",
            registry=registry,
        )
        Gauge(
            f"{prefix}_backlog_messages", "Messages of ours that wait for the broker.", registry=registry
        ).set_function(lambda: self._backlog)

    def subscribe(self, topic: str) -> MqttSubscription:
        """Return the messages of one topic (no wildcards); call before the bus is entered."""
        if self._supervisor is not None:
            raise RuntimeError("subscribe before the bus is entered: the broker may hold messages for the topic")
        return self._subscriptions.setdefault(topic, MqttSubscription(topic))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Return once the broker has taken the message; wait while it is away.

        Without `keep` it is sent with QoS 0: once at most, and kept for nobody who is away.

        Raises BacklogFull at once when `bus.max_backlog` messages wait already, BusError when the broker refuses
        this message.
        """
        if self._backlog >= self._settings.max_backlog:
            raise BacklogFull(
                f"{self._backlog} messages wait for the broker at {self._connection.target} already",
                remedy="see whether the broker runs; bus.max_backlog sets the bound",
            )
        self._backlog += 1
        try:
            while True:
                link = await self._usable_link()
                try:
                    await link.publish(topic, payload, retain=retain, qos=1 if keep else 0)
                except _LinkLost:
                    self._forget(link)  # at once: the supervisor learns of the loss a turn of the loop later
                else:
                    return
        finally:
            self._backlog -= 1

    async def _usable_link(self) -> "_Link":
        while self._link is None:
            await self._linked.wait()
        return self._link

    def _forget(self, link: "_Link | None") -> None:
        if self._link is link:
            self._link = None
            self._linked.clear()

    async def __aenter__(self) -> Self:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"mqtt {self._client_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)

    async def _supervise(self) -> None:
        """Keep one link up for ever."""
        while True:
            self._connection.connecting()
            link: _Link | None = None
            try:
                protocol = self._protocol or await self._negotiate()
                link = _Link(self._settings, self._client_id, protocol, self._route, keep=self._keep)
                for subscription in self._subscriptions.values():
                    subscription.gap = True
                await link.open()
                self._protocol = protocol
                # Publishing works from here on: amqtt answers a SUBSCRIBE only when the messages that it kept are
                # acknowledged, and they are acknowledged when what follows from them is published.
                self._link = link
                self._linked.set()
                await link.subscribe(list(self._subscriptions))
                self._connection.online(f"MQTT {_SPOKEN[protocol]}")
                since = time.monotonic()
                problem: BaseException | str = await link.lost()
                if time.monotonic() - since < _SOON_S:
                    problem = f"{problem}; {self._client_id!r} may be another client's id too: see bus.client_id_prefix"
            except (OSError, TimeoutError, LinesideError) as error:
                problem = error
            finally:
                self._forget(link)
                if link is not None:
                    await link.close()
            await asyncio.sleep(self._connection.backoff(problem))

    async def _negotiate(self) -> MQTTProtocolVersion:
        """Return MQTT 5 where the broker takes it, else 3.1.1; raises OSError where nobody listens.

        Asked under a client id of its own and without properties: amqtt, which speaks 3.1.1 only, refuses such a
        CONNECT properly but never answers one with properties, and the session of our own id stays untouched.
        """
        probe = _Link(self._settings, f"{self._client_id}-probe", MQTTProtocolVersion.MQTTv5, self._route, probe=True)
        try:
            await probe.open()
        except (TimeoutError, BusError) as error:
            if isinstance(error, BusError) and not error.transient:
                raise  # it is not the version
            log.info("the broker does not take MQTT 5; using 3.1.1", target=self._connection.target, reason=str(error))
            return MQTTProtocolVersion.MQTTv311
        finally:
            await probe.close()
        return MQTTProtocolVersion.MQTTv5

    def _route(self, message: MqttMessage) -> None:
        subscription = self._subscriptions.get(message.topic)
        if subscription is None:
            log.warning("message for a topic that is not subscribed any more; dropped", topic=message.topic)
            self._unrouted.inc()
            message.ack()
        else:
            message.after_gap, subscription.gap = subscription.gap, False
            subscription.messages.put_nowait(message)


class _Link:
    """One connection to the broker, from CONNECT to its loss."""

    def __init__(
        self,
        settings: BusSettings,
        client_id: str,
        protocol: MQTTProtocolVersion,
        route: Callable[[MqttMessage], None],
        *,
        probe: bool = False,
        keep: bool = True,
    ) -> None:
        self._probe = probe
        self._keep = keep
        self._settings = settings
        self._protocol = protocol
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._publishing: dict[int, asyncio.Future[None]] = {}
        self._unacknowledged: deque[MqttMessage] = deque()
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=protocol,
            clean_session=None if protocol == MQTTProtocolVersion.MQTTv5 else not keep,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = _send_without_delay
        self._client = client

    async def open(self) -> None:
        """Connect; raises OSError where nobody listens, TimeoutError, BusError."""
        if self._settings.tls is not None:
            # Read again each time: a certificate that was renewed counts from the next connection on.
            self._client.tls_set_context(await asyncio.to_thread(tls.context, self._settings.tls))
        if self._settings.username is not None:
            self._client.username_pw_set(self._settings.username, _password(self._settings))
        start: dict[str, Any] = {}
        if self._probe:
            start = {"clean_start": True}
        elif self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.SessionExpiryInterval = self._settings.session_expiry_s if self._keep else 0
            properties.ReceiveMaximum = self._settings.max_inflight
            start = {"clean_start": not self._keep, "properties": properties}
        try:
            await asyncio.to_thread(
                self._client.connect,
                self._settings.host,
                self._settings.port,
                self._settings.keepalive_s,
                **start,
            )
        except OSError as error:
            raise tls.refusal(error, self._settings.host) or error from None
        self._client.loop_start()
        await self._answer(self._accepted, "CONNECT", CONNECT_TIMEOUT_S)

    async def subscribe(self, topics: list[str]) -> None:
        """Subscribe; raises TimeoutError, BusError."""
        if topics:
            self._client.subscribe([(topic, 1) for topic in topics])
            await self._answer(self._subscribed, "SUBSCRIBE", SUBSCRIBE_TIMEOUT_S)

    async def lost(self) -> str:
        """Wait for the end of the connection and return why it ended."""
        return await asyncio.shield(self._lost)

    async def publish(self, topic: str, payload: bytes, *, retain: bool, qos: int) -> None:
        """Return when the broker has acknowledged, or with QoS 0 when it is sent; raises _LinkLost, BusError."""
        if self._lost.done():
            raise _LinkLost
        info = self._client.publish(topic, payload, qos=qos, retain=retain)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise BusError(f"cannot publish on {topic!r}: {paho.error_string(info.rc)}")
        # The answer comes by call_soon_threadsafe, so never before this line has run.
        acknowledged = self._publishing[info.mid] = self._loop.create_future()
        try:
            await acknowledged
        finally:
            self._publishing.pop(info.mid, None)

    def flush_acknowledgements(self) -> None:
        """Acknowledge in the order of arrival, as MQTT requires: a done message waits for those before it."""
        while self._unacknowledged and self._unacknowledged[0].acknowledged:
            message = self._unacknowledged.popleft()
            if not self._lost.done():
                self._client.ack(message.mid, 1)

    async def close(self) -> None:
        """Disconnect and end the network thread; the broker keeps the session."""
        self._end("closed")
        for answer in (self._accepted, self._subscribed):
            answer.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def _answer(self, answer: asyncio.Future[None], what: str, timeout_s: float) -> None:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait((answer, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise BusError(
                f"the broker closed the connection at {what}: {self._lost.result()}", remedy=self._closed_remedy()
            )
        answer.result()

    def _end(self, reason: str) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        for waiting in self._publishing.values():
            if not waiting.done():
                waiting.set_exception(_LinkLost())

    def _closed_remedy(self) -> str:
        if self._settings.tls is None:
            return "does bus.port want TLS (bus.tls)?"
        return "" if self._settings.tls.cert_file else "does it want a certificate of ours (bus.tls.cert_file)?"

    # Everything below runs on paho's thread and hands over to the loop at once.

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            self._loop.call_soon_threadsafe(call, *arguments)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        error: Exception | None = None
        if reason.is_failure:
            error = BusError(
                f"the broker refuses the connection: {reason}", remedy="check bus.username, its rights, bus.protocol"
            )
        self._soon(_settle, self._accepted, error)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.value >= _FAILURE]
        error = BusError(f"the broker refuses a subscription: {', '.join(refused)}") if refused else None
        self._soon(_settle, self._subscribed, error)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        error = BusError(f"the broker refuses the message: {reason}") if reason.value >= _FAILURE else None
        self._soon(self._published, mid, error)

    def _published(self, mid: int, error: Exception | None) -> None:
        waiting = self._publishing.get(mid)
        if waiting is not None:
            _settle(waiting, error)

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self._soon(self._take, message.topic, bytes(message.payload), message.mid, message.qos)

    def _take(self, topic: str, payload: bytes, mid: int, qos: int) -> None:
        message = MqttMessage(topic, payload, mid, self)
        if qos > 0:
            self._unacknowledged.append(message)
        self._route(message)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._soon(self._end, str(reason))


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _send_without_delay(_client: Any, _data: Any, sock: Any) -> None:
    with contextlib.suppress(OSError):  # not every transport is TCP
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _password(settings: BusSettings) -> str | None:
    if settings.password_file is None:
        return None
    try:
        return settings.password_file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, IndexError) as error:
        raise BusError(
            f"bus.password_file {settings.password_file} cannot be read: {error}",
            remedy="it holds the password on its first line",
            transient=False,
        ) from None
