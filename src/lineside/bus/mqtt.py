"""The bus over MQTT: QoS 1, a persistent session, acknowledgement after the work is done, our own reconnecting.

paho-mqtt speaks the protocol on a thread of its own. Each connection to the broker is one `Link` with a paho
client of its own, so that nothing of a lost connection reaches into the next: an acknowledgement of a message of
a lost link goes nowhere (the broker sends the message again), a publish that was not acknowledged is sent again.
The broker keeps messages for us by the client id, which stays the same.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import structlog
from paho.mqtt.enums import MQTTProtocolVersion
from prometheus_client import CollectorRegistry, Counter, Gauge

from lineside.bus import Promises
from lineside.bus.link import Link, LinkLost, MqttMessage
from lineside.connections import Connection
from lineside.errors import BacklogFull, BusError, LinesideError, MessageRefused
from lineside.settings import BusSettings

log = structlog.get_logger("lineside.bus")

_MAX_FALLS = 3
"""Connections that fall at one message before it is refused."""
_SOON_S = 5.0
"""A connection that ends sooner than this may have been taken over by another client with the same id."""
_SPOKEN = {MQTTProtocolVersion.MQTTv5: "5", MQTTProtocolVersion.MQTTv311: "3.1.1"}
_SET_PROTOCOL = {"auto": None, "5": MQTTProtocolVersion.MQTTv5, "3.1.1": MQTTProtocolVersion.MQTTv311}


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
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._backlog = 0
        self._supervisor: asyncio.Task[None] | None = None
        prefix = f"lineside_{client.replace('-', '_')}_bus"
        self._unrouted = Counter(
            f"{prefix}_unrouted_messages_total",
            "Messages that the broker had kept for a topic that is no longer subscribed; dropped.",
            registry=registry,
        )
        self._dropped = Counter(
            f"{prefix}_dropped_messages_total",
            "Messages of QoS 0 beyond bus.max_backlog that waited to be handled; dropped.",
            registry=registry,
        )
        Gauge(
            f"{prefix}_backlog_messages", "Messages of ours that wait for the broker.", registry=registry
        ).set_function(lambda: self._backlog)

    @property
    def promises(self) -> Promises:
        """What MQTT does for us; a broker may say that it retains nothing, and some forget at their own restart."""
        retains = self._link is None or self._link.limits.retains
        return Promises(keeps=self._keep, redelivers=self._keep, retains=retains, reconnects=True)

    def subscribe(self, topic: str) -> MqttSubscription:
        """Return the messages of one topic (no wildcards); call before the bus is entered."""
        if self._supervisor is not None:
            raise RuntimeError("subscribe before the bus is entered: the broker may hold messages for the topic")
        return self._subscriptions.setdefault(topic, MqttSubscription(topic))

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False, keep: bool = True) -> None:
        """Return once the broker has taken the message; wait while it is away.

        Without `keep` it is sent with QoS 0: at most once, to clients that are connected now.

        Raises BacklogFull at once when `bus.max_backlog` messages wait already, BusError when the broker refuses
        this message, MessageRefused where it is larger than the broker takes, or where connections fell at it again
        and again: sent once more it would hold up all others. Not retained where the broker retains nothing.
        """
        if self._backlog >= self._settings.max_backlog:
            raise BacklogFull(
                f"{self._backlog} messages wait for the broker at {self._connection.target} already",
                remedy="see whether the broker runs; bus.max_backlog sets the bound",
            )
        self._backlog += 1
        try:
            falls = 0
            while falls < _MAX_FALLS:
                link = await self._usable_link()
                try:
                    await link.publish(topic, payload, retain=retain, qos=1 if keep else 0, alone=falls > 0)
                except LinkLost as lost:
                    self._forget(link)  # at once: the supervisor learns of the loss a turn of the loop later
                    falls += lost.blamed
                else:
                    return
            raise MessageRefused(
                f"the broker closed the connection {falls} times at a message of {len(payload)} bytes on {topic!r}",
                remedy="may we publish there, and does the broker take messages so large? Its log says why it closed",
            )
        finally:
            self._backlog -= 1

    @property
    def _expiry_s(self) -> int:
        return self._settings.session_expiry_s if self._keep else 0

    async def _usable_link(self) -> "Link":
        while self._link is None:
            await self._linked.wait()
        return self._link

    def _forget(self, link: "Link | None") -> None:
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
            link: Link | None = None
            try:
                protocol = self._protocol or await self._negotiate()
                link = Link(self._settings, self._client_id, protocol, self._route, keep=self._keep)
                for subscription in self._subscriptions.values():
                    subscription.gap = True
                await link.open()
                self._protocol = protocol
                # Publishing works from here on: amqtt answers a SUBSCRIBE only when the messages that it kept are
                # acknowledged, and they are acknowledged when what follows from them is published.
                self._link = link
                self._linked.set()
                await self._listen(link)
                self._connection.online(f"MQTT {_SPOKEN[protocol]}{link.limits.in_words(self._expiry_s)}")
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

    async def _listen(self, link: Link) -> None:
        """Subscribe; ask again for what the broker refuses us. Raises TimeoutError, BusError.

        The link is kept meanwhile: what we may read and publish goes on, and the state says what is missing.
        """
        topics = list(self._subscriptions)
        while refused := await link.subscribe(topics):
            what = ", ".join(f"{topic!r} ({reason})" for topic, reason in refused.items())
            who = repr(self._settings.username) if self._settings.username else "us"
            problem = f"the broker does not let {who} read {what}; allow it there: see secure-the-broker.md"
            await link.lost(within_s=self._connection.backoff(problem))
            topics = list(refused)

    async def _negotiate(self) -> MQTTProtocolVersion:
        """Return MQTT 5 where the broker takes it, else 3.1.1; raises OSError where nobody listens.

        Asked under a client id of its own and without properties: amqtt, which speaks 3.1.1 only, refuses such a
        CONNECT properly but never answers one with properties, and the session of our own id stays untouched.
        """
        probe = Link(self._settings, f"{self._client_id}-probe", MQTTProtocolVersion.MQTTv5, self._route, probe=True)
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
        elif not message.kept and subscription.messages.qsize() >= self._settings.max_backlog:
            # Of what the broker keeps no more comes than bus.max_inflight; of QoS 0 all that anybody sends.
            log.warning("messages of QoS 0 come faster than they are handled; dropped", topic=message.topic)
            self._dropped.inc()
            subscription.gap = True
        else:
            message.after_gap, subscription.gap = subscription.gap, False
            subscription.messages.put_nowait(message)
