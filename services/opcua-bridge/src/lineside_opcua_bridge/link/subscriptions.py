"""The subscriptions of one connection: every notified value reaches its subscriber in order, or is reported as missing.

Each tag is a monitored item in a subscription with a publishing interval that suits it (see `rates`). Messages are put
in order by their sequence numbers (see `sequence_tracker`). A missing message is requested again by Republish; if the
server does not have it, every subscriber with an item in that subscription is told of the gap. So is the subscriber of
a value that carries the server's overflow bit (see `dispatcher`).

The subscriptions outlive a connection: `detach` when it is lost, `resume` over the next one.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import structlog
from asyncua import ua
from asyncua.ua.object_ids import ObjectIds

from lineside_opcua_bridge.link.dispatcher import NAMESPACES, Dispatcher, MonitoredItem
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.publish_loop import PublishLoop
from lineside_opcua_bridge.link.publishing import Message, Publication
from lineside_opcua_bridge.link.rates import MAX_ITEMS, Granted, batches, fits, is_short, publishing_for
from lineside_opcua_bridge.link.revised_parameters import log_revised
from lineside_opcua_bridge.link.sequence_tracker import SequenceTracker
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscriber import Binding, ItemRequest, Subscriber
from lineside_opcua_bridge.link.subscription_calls import (
    create_items,
    create_subscription,
    delete_items,
    resume_or_transfer,
    shorten_interval,
)
from lineside_opcua_bridge.settings import OpcuaBridgeSettings

log = structlog.get_logger("lineside.opcua_bridge.subscriptions")

_REORDER_S = 0.05
"""How long later messages may overtake a message until it is requested again."""
_MAX_MISSED_KEEPALIVES = 3
_MIN_SILENCE_S = 2.0
_FASTEST_MS = 1.0


@dataclass
class _Subscription:
    """A subscription at the server, and how far its messages were delivered."""

    id: int
    asked_ms: float
    """The publishing interval that was asked for."""
    interval_ms: float
    """The publishing interval that was granted."""
    keepalive_s: float
    last_message: float
    """When its last message arrived, by our monotonic clock."""
    sequence: SequenceTracker = field(default_factory=SequenceTracker)
    items: dict[int, MonitoredItem] = field(default_factory=dict)
    republishing: asyncio.Task[None] | None = None


class Subscriptions:
    """All subscriptions of one connection to a PLC."""

    def __init__(self, settings: OpcuaBridgeSettings, metrics: LinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._dispatcher = Dispatcher(metrics, self._check_namespaces)
        self._session: Session | None = None
        self._publish_loop: PublishLoop | None = None
        self._all: dict[int, _Subscription] = {}
        self._handles = itertools.count(NAMESPACES + 1)

    # Begin and end of a connection.

    async def start(self, session: Session) -> None:
        """Begin anew with a session: only the namespace array is monitored at first; raises CallFailed."""
        self.forget()
        self._use(session)
        subscription = await self._create(session, self._settings.publishing_interval_ms)
        array = ItemRequest("namespaces", ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray)))
        with contextlib.suppress(CallFailed):  # then a changed array is noticed at the next connection
            await create_items(session, subscription.id, [(NAMESPACES, array)], subscription.interval_ms)

    async def resume(self, session: Session) -> list[tuple[Subscriber, Binding]] | None:
        """Continue over a new connection, by the same session or by transferring the subscriptions to the new one.

        Every subscriber gets its binding for the new session, and the values that it missed. Returns the bindings; None
        where the subscriptions are gone and all must begin anew. Raises CallFailed.
        """
        if not self._all or not await resume_or_transfer(session, list(self._all)):
            return None
        self._use(session)
        bindings: dict[str, tuple[Subscriber, Binding]] = {}
        for item in self._dispatcher.items.values():
            name = item.subscriber.name
            if name not in bindings:
                bindings[name] = item.subscriber, replace(item.binding, session=session)
            item.binding = bindings[name][1]
        for subscriber, binding in bindings.values():
            subscriber.attach(binding, continuous=True)
        for subscription in self._all.values():
            subscription.last_message = time.monotonic()
            await self._republish_all(session, subscription)
        if self._publish_loop:
            self._publish_loop.serve(len(self._all))
        return list(bindings.values())

    def detach(self) -> None:
        """Take it that the connection is lost; the subscriptions may still exist at the server."""
        self._session = None
        if self._publish_loop:
            self._publish_loop.stop()
            self._publish_loop = None
        for subscription in self._all.values():
            if subscription.republishing:
                subscription.republishing.cancel()
                subscription.republishing = None

    def forget(self) -> None:
        """Take it that the subscriptions no longer exist."""
        self.detach()
        self._all.clear()
        self._dispatcher.items.clear()
        self._count()

    def silence(self) -> str | None:
        """Return which subscription missed more than three keep-alives, in words; None where none did."""
        now = time.monotonic()
        for subscription in self._all.values():
            if now - subscription.last_message > max(_MAX_MISSED_KEEPALIVES * subscription.keepalive_s, _MIN_SILENCE_S):
                return f"subscription {subscription.id} is silent: no notification and no sign of life"
        return None

    @property
    def interval_ms(self) -> float:
        """The shortest publishing interval that the server grants; 0 without subscriptions."""
        return min((subscription.interval_ms for subscription in self._all.values()), default=0.0)

    def _use(self, session: Session) -> None:
        self._session = session
        self._publish_loop = PublishLoop(session, self._take, self._metrics)

    # Monitored items.

    async def subscribe(self, subscriber: Subscriber, binding: Binding) -> None:
        """Monitor all items of a binding; their present values are delivered first; raises CallFailed."""
        session = binding.session
        by_interval: dict[float, list[ItemRequest]] = {}
        for request in binding.items:
            interval = publishing_for(request.sampling_ms, self._settings.publishing_interval_ms)
            by_interval.setdefault(interval, []).append(request)
        for interval, requests in by_interval.items():
            for group in batches(requests, MAX_ITEMS):
                subscription = self._with_room(interval, len(group)) or await self._create(session, interval)
                items = [MonitoredItem(subscriber, binding, request) for request in group]
                await self._monitor(session, subscription, items)
        subscriber.set_notification_delay(self._slowest_ms(subscriber) / 1000)
        self._count()

    async def unsubscribe(self, subscriber: Subscriber) -> None:
        """Delete the monitored items of a subscriber."""
        for subscription in list(self._all.values()):
            gone = {handle: item for handle, item in subscription.items.items() if item.subscriber is subscriber}
            for handle in gone:
                del subscription.items[handle], self._dispatcher.items[handle]
            ids = [item.id for item in gone.values() if item.id]
            if ids and self._session:
                with contextlib.suppress(CallFailed):  # values that still arrive have no item and are ignored
                    await delete_items(self._session, subscription.id, ids)
        self._count()

    def _slowest_ms(self, subscriber: Subscriber) -> float:
        """Return within how many ms a change of the subscriber's tags, window columns excepted, is notified."""
        return max(
            (
                max(0.0, item.granted.sampling_ms) + subscription.interval_ms
                for subscription in self._all.values()
                for item in subscription.items.values()
                if item.subscriber is subscriber and item.granted and not item.request.role.startswith("window.")
            ),
            default=0.0,
        )

    async def _monitor(self, session: Session, subscription: _Subscription, items: Sequence[MonitoredItem]) -> None:
        requests: list[tuple[int, ItemRequest]] = []
        for item in items:
            handle = next(self._handles)
            self._dispatcher.items[handle] = subscription.items[handle] = item
            requests.append((handle, item.request))
        results = await create_items(session, subscription.id, requests, subscription.interval_ms)
        for item, result in zip(items, results, strict=True):
            item.id = int(result.MonitoredItemId)
            item.granted = Granted(float(result.RevisedSamplingInterval), int(result.RevisedQueueSize))
        await self._adapt_interval(session, subscription, items)

    async def _adapt_interval(
        self, session: Session, subscription: _Subscription, items: Sequence[MonitoredItem]
    ) -> None:
        """Publish more often where the server granted shorter queues than asked for; log what stays too short."""
        longest = min((fits(item.granted) for item in items if item.granted), default=subscription.interval_ms)
        if _FASTEST_MS <= longest < subscription.interval_ms:
            subscription.interval_ms, subscription.keepalive_s = await shorten_interval(
                session, subscription.id, longest, self._settings
            )
        log_revised(items, subscription.interval_ms)

    def _with_room(self, interval: float, count: int) -> _Subscription | None:
        fitting = (each for each in self._all.values() if each.asked_ms == interval)
        return next((each for each in fitting if len(each.items) + count <= MAX_ITEMS), None)

    async def _create(self, session: Session, interval: float) -> _Subscription:
        number, granted, keepalive_s = await create_subscription(session, interval, self._settings)
        subscription = _Subscription(number, interval, granted, keepalive_s, last_message=time.monotonic())
        self._all[number] = subscription
        if self._publish_loop:
            self._publish_loop.serve(len(self._all))
        return subscription

    def _count(self) -> None:
        self._metrics.subscriptions.set(len(self._all))
        self._metrics.items.set(len(self._dispatcher.items))
        self._metrics.short_queues.set(
            sum(
                1
                for subscription in self._all.values()
                for item in subscription.items.values()
                if item.granted and is_short(item.granted, subscription.interval_ms)
            )
        )

    # Messages.

    def _take(self, publication: Publication) -> None:
        subscription, message = self._all.get(publication.subscription), publication.message
        if subscription is None:
            return  # of a subscription that was forgotten
        subscription.last_message = time.monotonic()
        if message.ended and self._session:
            self._session.lose(f"the server ended a subscription: {message.ended}", spent=True)
        kind = "keepalive" if message.is_keepalive else "data"
        self._metrics.messages.labels(kind).inc()
        self._deliver(subscription.sequence.take(message))
        if subscription.sequence.missing() and self._session and subscription.republishing is None:
            subscription.republishing = asyncio.create_task(
                self._republish_missing(self._session, subscription), name=f"republish subscription {subscription.id}"
            )

    def _deliver(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._dispatcher.deliver(message)

    async def _republish_missing(self, session: Session, subscription: _Subscription) -> None:
        """Request missing messages again, after a pause in which they may still arrive."""
        try:
            while subscription.sequence.missing():
                if not subscription.sequence.is_full:
                    await asyncio.sleep(_REORDER_S)
                for number in subscription.sequence.missing():
                    if not await self._republish(session, subscription, number):
                        break
                if session.lost.done():
                    return
                if subscription.sequence.missing():
                    self._give_up(subscription)
        finally:
            subscription.republishing = None

    async def _republish(self, session: Session, subscription: _Subscription, number: int) -> bool:
        """Have the server send one message again; return whether it did."""
        try:
            message = await session.republish(subscription.id, number)
        except CallFailed:
            return False
        self._metrics.messages.labels("repeated").inc()
        self._deliver(subscription.sequence.take(message))
        return True

    async def _republish_all(self, session: Session, subscription: _Subscription) -> None:
        """Have the server send all messages again that it still has, from the first that is missing."""
        while await self._republish(session, subscription, subscription.sequence.expected):
            pass
        if session.lost.done():
            raise CallFailed(session.lost.result(), reason="connection")
        if subscription.sequence.missing():
            self._give_up(subscription)

    def _give_up(self, subscription: _Subscription) -> None:
        lost, ready = subscription.sequence.give_up()
        self._metrics.lost_messages.inc(lost)
        log.warning("notifications are lost; every tag of the subscription is in doubt", messages=lost)
        self._dispatcher.mark_gap(subscription.items.values())
        self._deliver(ready)

    def _check_namespaces(self, namespaces: object) -> None:
        session = self._session
        if session and isinstance(namespaces, list) and [str(uri) for uri in namespaces] != session.namespaces:
            session.lose("the server's namespaces changed: every node is looked up again", spent=True)
