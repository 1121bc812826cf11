"""Subscriptions that lose nothing unseen: what the tags of all stations send, in order, to the stations.

Each tag is a monitored item in a subscription with a publishing interval that suits it (see `rates`). Messages are put
in order by their numbers (see `ordering`); one that is missing is asked for again, and if the server does not have it,
every station with a tag in that subscription is told that its line of values is broken. So is a station whose value
comes with the mark that the server's queue was too short (see `delivery`).

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

from lineside_opcua_bridge.link.dispatcher import NAMESPACES, Delivery, Target
from lineside_opcua_bridge.link.metrics import LinkMetrics
from lineside_opcua_bridge.link.publish_loop import PublishLoop
from lineside_opcua_bridge.link.publishing import Message, Publication
from lineside_opcua_bridge.link.rates import MAX_ITEMS, Granted, batches, fits, is_short, publishing_for
from lineside_opcua_bridge.link.revised_parameters import tell
from lineside_opcua_bridge.link.sequence_tracker import SequenceTracker
from lineside_opcua_bridge.link.session import CallFailed, Session
from lineside_opcua_bridge.link.subscription_calls import (
    create_items,
    create_subscription,
    delete_items,
    hurry,
    resume_or_transfer,
)
from lineside_opcua_bridge.settings import OpcuaBridgeSettings
from lineside_opcua_bridge.station.binding import Binding, Watched
from lineside_opcua_bridge.station.station import Station

log = structlog.get_logger("lineside.opcua_bridge.subscriptions")

_REORDER_S = 0.05
"""How long a message may be overtaken by later ones before it is asked for again."""
_LIVES = 3
"""Signs of life that may stay away."""
_LEAST_SILENCE_S = 2.0
_FASTEST_MS = 1.0


@dataclass
class _Subscription:
    """A subscription at the server, and how far it was read."""

    id: int
    asked_ms: float
    interval_ms: float
    keepalive_s: float
    heard: float
    line: SequenceTracker = field(default_factory=SequenceTracker)
    targets: dict[int, Target] = field(default_factory=dict)
    mending: asyncio.Task[None] | None = None


class Subscriptions:
    """All subscriptions of one connection to a PLC."""

    def __init__(self, settings: OpcuaBridgeSettings, metrics: LinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._delivery = Delivery(metrics, self._renamed)
        self._session: Session | None = None
        self._pump: PublishLoop | None = None
        self._all: dict[int, _Subscription] = {}
        self._handles = itertools.count(NAMESPACES + 1)

    # A connection's beginning and end.

    async def start(self, session: Session) -> None:
        """Begin anew with a session, where no tag is watched yet, only the namespace array; raises CallFailed."""
        self.forget()
        self._attach(session)
        subscription = await self._create(session, self._settings.publishing_interval_ms)
        array = Watched("namespaces", ua.NodeId(ua.Int32(ObjectIds.Server_NamespaceArray)))
        with contextlib.suppress(CallFailed):  # then a changed array shows at the next connection
            await create_items(session, subscription.id, [(NAMESPACES, array)], subscription.interval_ms)

    async def resume(self, session: Session) -> list[tuple[Station, Binding]] | None:
        """Go on over a new connection, by the same session or by transferring the subscriptions to the new one.

        Every station is bound again and gets what it missed. Returns the bindings; None where it cannot go on, and all
        must begin anew. Raises CallFailed.
        """
        if not self._all or not await resume_or_transfer(session, list(self._all)):
            return None
        self._attach(session)
        bindings: dict[str, tuple[Station, Binding]] = {}
        for target in self._delivery.targets.values():
            name = target.station.name
            if name not in bindings:
                bindings[name] = target.station, replace(target.binding, session=session)
            target.binding = bindings[name][1]
        for station, binding in bindings.values():
            station.bound(binding, whole=True)
        for subscription in self._all.values():
            subscription.heard = time.monotonic()
            await self._repeat_all(session, subscription)
        if self._pump:
            self._pump.serve(len(self._all))
        return list(bindings.values())

    def detach(self) -> None:
        """Take it that the connection is lost; the subscriptions may still live."""
        self._session = None
        if self._pump:
            self._pump.stop()
            self._pump = None
        for subscription in self._all.values():
            if subscription.mending:
                subscription.mending.cancel()
                subscription.mending = None

    def forget(self) -> None:
        """Take it that the subscriptions are gone."""
        self.detach()
        self._all.clear()
        self._delivery.targets.clear()
        self._count()

    def silence(self) -> str | None:
        """Return which subscription is overdue for a sign of life, beyond three that it may miss, if any."""
        now = time.monotonic()
        for subscription in self._all.values():
            if now - subscription.heard > max(_LIVES * subscription.keepalive_s, _LEAST_SILENCE_S):
                return f"subscription {subscription.id} is silent: no notification and no sign of life"
        return None

    @property
    def interval_ms(self) -> float:
        """The shortest publishing interval that the server grants; 0 without subscriptions."""
        return min((subscription.interval_ms for subscription in self._all.values()), default=0.0)

    def _attach(self, session: Session) -> None:
        self._session = session
        self._pump = PublishLoop(session, self._take, self._metrics)

    # What is watched.

    async def watch(self, station: Station, binding: Binding) -> None:
        """Have everything that a station listens to sent to it, the present values first; raises CallFailed."""
        session = binding.session
        wanted: dict[float, list[Watched]] = {}
        for watched in binding.watches:
            interval = publishing_for(watched.sampling_ms, self._settings.publishing_interval_ms)
            wanted.setdefault(interval, []).append(watched)
        for interval, all_watched in wanted.items():
            for group in batches(all_watched, MAX_ITEMS):
                subscription = self._roomy(interval, len(group)) or await self._create(session, interval)
                await self._watch(session, subscription, [Target(station, binding, watched) for watched in group])
        station.settles(self._slowest_ms(station) / 1000)
        self._count()

    def _slowest_ms(self, station: Station) -> float:
        """Return within how many ms a change of a station's tags, other than a window's columns, is notified."""
        return max(
            (
                max(0.0, target.granted.sampling_ms) + subscription.interval_ms
                for subscription in self._all.values()
                for target in subscription.targets.values()
                if target.station is station and target.granted and not target.watched.role.startswith("window.")
            ),
            default=0.0,
        )

    async def unwatch(self, station: Station) -> None:
        """Hear no more of what a station listens to."""
        for subscription in list(self._all.values()):
            gone = {handle: target for handle, target in subscription.targets.items() if target.station is station}
            for handle in gone:
                del subscription.targets[handle], self._delivery.targets[handle]
            items = [target.item for target in gone.values() if target.item]
            if items and self._session:
                with contextlib.suppress(CallFailed):  # what still comes of them finds nobody
                    await delete_items(self._session, subscription.id, items)
        self._count()

    async def _watch(self, session: Session, subscription: _Subscription, targets: Sequence[Target]) -> None:
        items: list[tuple[int, Watched]] = []
        for target in targets:
            handle = next(self._handles)
            self._delivery.targets[handle] = subscription.targets[handle] = target
            items.append((handle, target.watched))
        results = await create_items(session, subscription.id, items, subscription.interval_ms)
        for target, result in zip(targets, results, strict=True):
            target.item = int(result.MonitoredItemId)
            target.granted = Granted(float(result.RevisedSamplingInterval), int(result.RevisedQueueSize))
        await self._suit(session, subscription, targets)

    async def _suit(self, session: Session, subscription: _Subscription, targets: Sequence[Target]) -> None:
        """Have it published more often where the server keeps fewer values than asked for; say what stays short."""
        bearable = min((fits(target.granted) for target in targets if target.granted), default=subscription.interval_ms)
        if _FASTEST_MS <= bearable < subscription.interval_ms:
            subscription.interval_ms, subscription.keepalive_s = await hurry(
                session, subscription.id, bearable, self._settings
            )
        tell(targets, subscription.interval_ms)

    def _roomy(self, interval: float, count: int) -> _Subscription | None:
        fitting = (each for each in self._all.values() if each.asked_ms == interval)
        return next((each for each in fitting if len(each.targets) + count <= MAX_ITEMS), None)

    async def _create(self, session: Session, interval: float) -> _Subscription:
        number, granted, keepalive_s = await create_subscription(session, interval, self._settings)
        subscription = _Subscription(number, interval, granted, keepalive_s, heard=time.monotonic())
        self._all[number] = subscription
        if self._pump:
            self._pump.serve(len(self._all))
        return subscription

    def _count(self) -> None:
        self._metrics.subscriptions.set(len(self._all))
        self._metrics.items.set(len(self._delivery.targets))
        self._metrics.short_queues.set(
            sum(
                1
                for subscription in self._all.values()
                for target in subscription.targets.values()
                if target.granted and is_short(target.granted, subscription.interval_ms)
            )
        )

    # What arrives.

    def _take(self, publication: Publication) -> None:
        subscription, message = self._all.get(publication.subscription), publication.message
        if subscription is None:
            return  # of one that is forgotten
        subscription.heard = time.monotonic()
        if message.ended and self._session:
            self._session.lose(f"the server ended a subscription: {message.ended}", spent=True)
        kind = "keepalive" if message.is_keepalive else "data"
        self._metrics.messages.labels(kind).inc()
        self._hand_on(subscription.line.take(message))
        if subscription.line.missing() and self._session and subscription.mending is None:
            subscription.mending = asyncio.create_task(
                self._mend(self._session, subscription), name=f"mend subscription {subscription.id}"
            )

    def _hand_on(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._delivery.deliver(message)

    async def _mend(self, session: Session, subscription: _Subscription) -> None:
        """Ask for the messages that did not come, after a while in which they may only be late."""
        try:
            while subscription.line.missing():
                if not subscription.line.is_full:
                    await asyncio.sleep(_REORDER_S)
                for number in subscription.line.missing():
                    if not await self._repeat(session, subscription, number):
                        break
                if session.lost.done():
                    return
                if subscription.line.missing():
                    self._give_up(subscription)
        finally:
            subscription.mending = None

    async def _repeat(self, session: Session, subscription: _Subscription, number: int) -> bool:
        """Have the server send one message again; return whether it did."""
        try:
            message = await session.republish(subscription.id, number)
        except CallFailed:
            return False
        self._metrics.messages.labels("repeated").inc()
        self._hand_on(subscription.line.take(message))
        return True

    async def _repeat_all(self, session: Session, subscription: _Subscription) -> None:
        """Have everything sent again that the server still has, from the first message that did not come."""
        while await self._repeat(session, subscription, subscription.line.expected):
            pass
        if session.lost.done():
            raise CallFailed(session.lost.result(), reason="connection")
        if subscription.line.missing():
            self._give_up(subscription)

    def _give_up(self, subscription: _Subscription) -> None:
        lost, ready = subscription.line.give_up()
        self._metrics.lost_messages.inc(lost)
        log.warning("notifications are lost; every tag of the subscription is in doubt", messages=lost)
        self._delivery.doubt(subscription.targets.values())
        self._hand_on(ready)

    def _renamed(self, namespaces: object) -> None:
        session = self._session
        if session and isinstance(namespaces, list) and [str(uri) for uri in namespaces] != session.namespaces:
            session.lose("the server's namespaces changed: every node is looked up again", spent=True)
