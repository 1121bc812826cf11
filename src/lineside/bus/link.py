"""One connection to an MQTT broker, from CONNECT to its loss; `lineside.bus.mqtt` makes one after another."""

import asyncio
import contextlib
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import paho.mqtt.client as paho
import structlog
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from lineside.bus import tls
from lineside.bus.limits import MAX_FILTERS, Limits, own_packet_bytes
from lineside.errors import BusError
from lineside.secret_files import SecretFileError, read_password
from lineside.settings import BusSettings
from lineside.threads import hand_over

log = structlog.get_logger("lineside.bus")

CONNECT_TIMEOUT_S = 5.0
SUBSCRIBE_TIMEOUT_S = 30.0
_FAILURE = 128


class LinkLost(Exception):
    """The connection ended before the broker answered; `blamed`: it may have ended because of this message.

    A broker handles packets in order: it closes the connection at one that it will not take, and has acknowledged those
    before it.
    """

    def __init__(self, *, blamed: bool) -> None:
        super().__init__()
        self.blamed = blamed


class MqttMessage:
    """A message of one link; see lineside.bus.Message."""

    __slots__ = ("_link", "acknowledged", "after_gap", "kept", "mid", "payload", "topic")

    def __init__(self, topic: str, payload: bytes, mid: int, link: "Link", *, kept: bool) -> None:
        self.topic = topic
        self.payload = payload
        self.mid = mid
        self.kept = kept
        """Whether the broker keeps it until it is acknowledged: QoS 1."""
        self.acknowledged = False
        self.after_gap = False
        self._link = link

    def ack(self) -> None:
        """Say that the work is done."""
        self.acknowledged = True
        self._link.flush_acknowledgements()


class Link:
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
        self.limits = Limits()
        self._free = asyncio.Semaphore(self.limits.in_flight)
        self._alone = asyncio.Lock()
        self._not_retained: set[str] = set()
        self._probe = probe
        self._keep = keep
        self._settings = settings
        self._protocol = protocol
        self._route = route
        self._loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._subscribing: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._publishing: dict[int, asyncio.Future[None]] = {}
        """What the broker has not acknowledged, in the order in which it was sent."""
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
            made = await asyncio.to_thread(tls.context, self._settings.tls, self._settings.port)
            self._client.tls_set_context(made)
        if self._settings.username is not None:
            self._client.username_pw_set(self._settings.username, _password(self._settings))
        start: dict[str, Any] = {}
        if self._probe:
            start = {"clean_start": True}
        elif self._protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.SessionExpiryInterval = self._settings.session_expiry_s if self._keep else 0
            properties.ReceiveMaximum = self._settings.max_inflight
            properties.MaximumPacketSize = own_packet_bytes(self._settings.max_message_bytes)
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
        await self._answer(self._accepted, "CONNECT", CONNECT_TIMEOUT_S, remedy=self._closed_remedy())
        self.limits.check()
        self._free = asyncio.Semaphore(self.limits.in_flight)

    async def subscribe(self, topics: list[str]) -> Mapping[str, str]:
        """Subscribe; return the topics that the broker does not let us read, with its reason.

        Raises TimeoutError, BusError.
        """
        asked: list[tuple[list[str], asyncio.Future[list[ReasonCode]]]] = []
        for first in range(0, len(topics), MAX_FILTERS):
            some = topics[first : first + MAX_FILTERS]
            _result, mid = self._client.subscribe([(topic, 1) for topic in some])
            # The answer comes by call_soon_threadsafe, so never before this line has run.
            asked.append((some, self._subscribing.setdefault(mid or 0, self._loop.create_future())))
        refused: dict[str, str] = {}
        who = self._settings.username or "we"
        remedy = f"may {who} read {', '.join(topics)}? Some brokers close instead of refusing"
        for some, answer in asked:
            await self._answer(answer, "SUBSCRIBE", SUBSCRIBE_TIMEOUT_S, remedy=remedy)
            refused |= {
                topic: str(reason)
                for topic, reason in zip(some, answer.result(), strict=False)
                if reason.value >= _FAILURE
            }
        return refused

    async def lost(self, within_s: float | None = None) -> str:
        """Wait for the end of the connection, some seconds at most, and return why it ended; empty where it did not."""
        await asyncio.wait((self._lost,), timeout=within_s)
        return self._lost.result() if self._lost.done() else ""

    async def publish(self, topic: str, payload: bytes, *, retain: bool, qos: int = 1, alone: bool = False) -> None:
        """Return when the broker has acknowledged, or with QoS 0 when it is sent.

        Raises LinkLost, BusError, and MessageRefused.

        `alone`: nothing else is under way meanwhile, so that a loss is this message's doing or none's.
        """
        self.limits.check_message(topic, payload, self._protocol)
        async with self._room(alone=alone):
            if self._lost.done():
                raise LinkLost(blamed=False)
            if retain and not self.limits.retains and topic not in self._not_retained:
                self._not_retained.add(topic)
                log.warning("the broker retains nothing: who comes later does not get this message", topic=topic)
            info = self._client.publish(topic, payload, qos=qos, retain=retain and self.limits.retains)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise BusError(f"cannot publish on {topic!r}: {paho.error_string(info.rc)}")
            # The answer comes by call_soon_threadsafe, so never before this line has run.
            acknowledged = self._publishing[info.mid] = self._loop.create_future()
            sent = time.monotonic()
            try:
                await acknowledged
            except LinkLost as lost:
                # A broker that is only silent, or a way to it that is cut, shows by the keepalive, which takes longer.
                lost.blamed = lost.blamed and time.monotonic() - sent < self._settings.keepalive_s
                raise
            finally:
                self._publishing.pop(info.mid, None)

    @contextlib.asynccontextmanager
    async def _room(self, *, alone: bool) -> AsyncIterator[None]:
        """Wait until one more message may be in flight, or until none is."""
        wanted, taken = self.limits.in_flight if alone else 1, 0
        try:
            async with self._alone if alone else contextlib.nullcontext():
                while taken < wanted:
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()

    def flush_acknowledgements(self) -> None:
        """Acknowledge in the order of arrival, as MQTT requires: a done message waits for those before it."""
        while self._unacknowledged and self._unacknowledged[0].acknowledged:
            message = self._unacknowledged.popleft()
            if not self._lost.done():
                self._client.ack(message.mid, 1)

    async def close(self) -> None:
        """Disconnect and end the network thread; the broker keeps the session."""
        self._end("closed", closed=True)
        self._accepted.cancel()
        for answer in self._subscribing.values():
            answer.cancel()
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def _answer(self, answer: asyncio.Future[Any], what: str, timeout_s: float, *, remedy: str) -> None:
        async with asyncio.timeout(timeout_s):
            await asyncio.wait((answer, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise BusError(f"the broker closed the connection at {what}: {self._lost.result()}", remedy=remedy)
        answer.result()

    def _end(self, reason: str, *, closed: bool = False) -> None:
        if not self._lost.done():
            self._lost.set_result(reason)
        first = next(iter(self._publishing.values()), None)
        for waiting in self._publishing.values():
            if not waiting.done():
                waiting.set_exception(LinkLost(blamed=waiting is first and not closed))

    def _closed_remedy(self) -> str:
        if self._settings.tls is None:
            return "does bus.port want TLS (bus.tls)?"
        return "" if self._settings.tls.cert_file else "does it want a certificate of ours (bus.tls.cert_file)?"

    # Everything below runs on paho's thread and hands over to the loop at once.

    def _soon(self, call: Callable[..., object], *arguments: object) -> None:
        hand_over(self._loop, call, *arguments)

    def _on_connect(
        self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, announced: Properties | None
    ) -> None:
        self.limits = Limits.of(announced)
        error: Exception | None = None
        if reason.is_failure:
            error = BusError(
                f"the broker refuses the connection: {reason}", remedy="check bus.username, its rights, bus.protocol"
            )
        self._soon(_settle, self._accepted, error)

    def _on_subscribe(self, _client: Any, _data: Any, mid: int, reasons: list[ReasonCode], _properties: Any) -> None:
        self._soon(self._answered, mid, reasons)

    def _answered(self, mid: int, reasons: list[ReasonCode]) -> None:
        answer = self._subscribing.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(reasons)

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
        message = MqttMessage(topic, payload, mid, self, kept=qos > 0)
        if message.kept:
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
        return read_password(settings.password_file)
    except SecretFileError as error:
        raise BusError(f"bus.password_file {error.what}", remedy=error.remedy, transient=False) from None
