"""One trigger's worker: one task that handles its events in order, so that its steps never overlap.

Workers share the session and the bus and nothing else: one that waits for a slow call delays no other. The events are
the trigger's values, the answers to requests, deadlines, and reasons to read the view of the PLC. Values become
triggers in `trigger_detection`, triggers become parts in `part_intake`, and `handshake_driver` gets the answers to the
PLC. Requests are published in tasks of their own (`request_publisher`): a broker that is away must not keep the
deadline's `unknown` from the PLC.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

import structlog

from lineside.bus import Bus
from lineside.connections import Connection
from lineside.contract import Outcome, Source, utc_now
from lineside.settings import BusSettings
from lineside_opcua_bridge.detect import detector_of
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger, PeriodTrigger
from lineside_opcua_bridge.station.elements import Elements
from lineside_opcua_bridge.station.event_queue import (
    AnswerReceived,
    Event,
    EventQueue,
    Gap,
    Recheck,
    Tick,
    TriggerUnusable,
    Value,
)
from lineside_opcua_bridge.station.handshake_driver import HandshakeDriver
from lineside_opcua_bridge.station.handshake_state import HandshakeRules, RecoverPart
from lineside_opcua_bridge.station.margin import Margin
from lineside_opcua_bridge.station.overload import Dispatcher
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.part_intake import PartIntake
from lineside_opcua_bridge.station.parts import Answer
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.request_publisher import RequestPublisher
from lineside_opcua_bridge.station.tag_cache import TagCache
from lineside_opcua_bridge.station.trigger_detection import TriggerDetection, stamps_of
from lineside_opcua_bridge.station.unusable_trigger import UnusableTrigger
from lineside_opcua_bridge.ticker import FairLock, Ticker

log = structlog.get_logger("lineside.opcua_bridge.station")

_WINDOW_CHECK_S = 0.02
"""The shortest time between two checks whether a window is complete."""


class TriggerWorker:
    """The worker of one trigger; only its task (`run`) changes its state. It is a subscriber of the link.

    Common to all workers are `fair_lock`, by which triggers of the clock and of windows, which come together, take
    turns, the `margin` that the write-back needs, and the `dispatcher` of requests.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        source: Source | None,
        *,
        bus: Bus,
        topics: BusSettings,
        pending: PendingRequests,
        metrics: Metrics,
        fair_lock: FairLock,
        on_outcome: Callable[[Outcome], None],
        margin: Margin | None = None,
        dispatcher: Dispatcher | None = None,
        broker: Connection | None = None,
        grace_s: float,
        backlog: int,
        ownership: Ownership | None = None,
        simulate: bool = False,
    ) -> None:
        self.settings = settings
        self.ownership = ownership or Ownership(settings, metrics, simulate=simulate)
        self.ownership.taken = self._recheck_soon
        self._metrics = metrics
        self._margin = margin = margin or Margin()
        self._fair_lock = fair_lock
        self._events = EventQueue(backlog)
        self._tags = TagCache(settings, source, metrics)
        roles = {"trigger", "request", "done"} - ({"trigger"} if isinstance(settings.when, EventTrigger) else set())
        self._elements = Elements(settings.elements(), acted_on=roles)
        stamps = stamps_of(settings, roles, metrics)
        rules = HandshakeRules.of(settings, grace_s=grace_s, simulate=simulate)
        detector = detector_of(settings, has_done=rules.writes)
        self._has_detector = detector is not None
        unusable = UnusableTrigger(settings, self._events)
        self._publisher = RequestPublisher(
            settings.name,
            settings.station,
            bus=bus,
            topic=topics.request_topic,
            metrics=metrics,
            refused=self.take_answer,
            dispatcher=dispatcher or Dispatcher(),
            broker=broker,
        )
        self._handshake = HandshakeDriver(
            settings,
            rules,
            events=self._events,
            stamps=stamps,
            tags=self._tags,
            detector=detector,
            ownership=self.ownership,
            publisher=self._publisher,
            pending=pending,
            metrics=metrics,
            margin=margin,
            on_outcome=on_outcome,
            recover=self._recover,
        )
        self._intake = PartIntake(
            settings,
            asker=self,
            max_bytes=topics.max_message_bytes,
            events=self._events,
            stamps=stamps,
            tags=self._tags,
            detector=detector,
            unusable=unusable,
            handshake=self._handshake,
            ownership=self.ownership,
            publisher=self._publisher,
            pending=pending,
            metrics=metrics,
            margin=margin,
        )
        self._detection = TriggerDetection(
            settings,
            detector=detector,
            stamps=stamps,
            unusable=unusable,
            events=self._events,
            handshake=self._handshake,
            intake=self._intake,
            metrics=metrics,
        )
        self._generation = 0
        """Counts the sessions before which values may be missing; a resumed one does not count."""

    @property
    def name(self) -> str:
        """The trigger's name."""
        return self.settings.name

    # What the link, the bus and the operator tell it; none of these calls waits.

    def attach(self, binding: Binding, *, continuous: bool) -> None:
        """Take the nodes of a session.

        With `continuous` the subscriptions go on and no value was lost. Without it values may be missing, and the
        present value of every tag follows as its first sample.
        """
        self._handshake.attach(binding)
        self.ownership.bind(binding)
        self._tags.set_session(binding.session, continuous=continuous)
        by_values = any(item.role == "trigger" and item.event is None for item in binding.items)
        if not continuous:
            self._generation += 1
            self._elements.mark_gap()
            self._detection.begin_session()
        if continuous or not by_values:
            self._events.put(Recheck(binding, recover=False))
            self._detection.recheck_request_later()

    def detach(self) -> None:
        """Take it that the PLC is away; the parts that wait are kept."""
        self._handshake.detach()
        self.ownership.bind(None)
        self._tags.set_session(None)

    def set_notification_delay(self, seconds: float) -> None:
        """Take within how many seconds a change in the PLC is notified."""
        self._tags.notification_delay_s = self._handshake.notification_delay_s = seconds
        self._margin.notification_delay_s = seconds

    def mark_gap(self, role: str | None = None) -> None:
        """Take it that values of the tag with this role, or of all, are missing before the next one."""
        if role is None or role in self._tags:
            self._tags.mark_gap(role)
        if role in {None, "trigger", "request", "done"}:
            self._elements.mark_gap()
            self._events.mark_gap()

    def receive(self, binding: Binding | None, role: str, sample: Sample) -> None:
        """Take a value of the tag with this role; `binding` is None for a tag that comes by a collector."""
        if binding is not None and binding is not self._handshake.binding:
            return  # of a session that is lost
        if isinstance(sample.value, list) or role in self._elements:
            taken = self._elements.take(role, sample)
            if taken is None:
                return  # another element of the array changed
            sample = taken
        if self._tags.add(role, sample):
            return
        self._put(Value(None if binding is None else self._generation, role, sample))

    def take_answer(self, request_id: str, answer: Answer) -> None:
        """Take the answer to a request."""
        self._events.put(AnswerReceived(request_id, answer))

    def pause(self, reason: str | None) -> None:
        """Ask about no part from now on, and answer each `unknown` at once; None asks again."""
        self._intake.paused = reason

    async def drain(self) -> None:
        """Ask about nothing more and return once no part waits; a part that arrives now is left to the next start."""
        self._intake.is_draining = True
        await self._handshake.idle()
        await self.ownership.release()

    async def run(self) -> None:
        """Handle events, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._publisher.tasks = tasks
            tasks.create_task(self.ownership.keep(), name=f"ownership {self.name}")
            if isinstance(self.settings.when, PeriodTrigger):
                tasks.create_task(self._tick_periods(self.settings.when.every_ms / 1000), name=f"period {self.name}")
            elif not self._has_detector and isinstance(self.settings.source, WindowSourceSettings):
                every = max(_WINDOW_CHECK_S, 1 / self.settings.source.rate_hz)
                tasks.create_task(self._tick_windows(every), name=f"windows {self.name}")
            while True:
                await self._handle(await self._events.get())

    async def _handle(self, event: Event) -> None:
        match event:
            case Gap():
                self._detection.mark_gap()
                await self._handshake.recheck()
            case Value(generation, role, sample) if generation is None or generation == self._generation:
                await self._detection.take(role, sample)
            case Tick(sample):
                await self._fair_lock.take()
                await self._intake.tick(sample)
            case Recheck(binding, recover) if binding is self._handshake.binding:
                await self._handshake.recheck(recover=recover)
            case AnswerReceived(request_id, answer, ticks):
                await self._handshake.take_answer(request_id, answer, ticks)
            case TriggerUnusable(sample):
                self._intake.answer_unusable(sample)
            case _:
                pass  # of a session that is lost

    def _recheck_soon(self) -> None:
        """Recheck for a part that waits since before the station was ours."""
        if binding := self._handshake.binding:
            self._events.put(Recheck(binding))

    async def _recover(self, found: RecoverPart) -> None:
        await self._intake.recover(found)

    def _put(self, event: Value | Tick) -> None:
        if self._events.put_value(event):
            return
        self._metrics.overflow.labels(self.name, "backlog").inc()
        log.warning("a trigger's value was dropped: too many wait", trigger=self.name)
        self._elements.mark_gap()
        self._events.mark_gap()

    # Triggers that are no values.

    async def _tick_periods(self, every_s: float) -> None:
        ticker = Ticker(time.monotonic(), every_s)
        while True:
            await asyncio.sleep(max(0.0, ticker.due - time.monotonic()))
            if missed := ticker.take(time.monotonic()):
                self._metrics.triggers.labels(self.name, "missed_tick").inc(missed)
                log.warning("ticks of a period were missed", trigger=self.name, missed=missed)
            if self.settings.needs_plc() and self._handshake.binding is None:
                self._metrics.triggers.labels(self.name, "plc_away").inc()
            else:
                self._put(Tick(_tick_sample(None)))

    async def _tick_windows(self, every_s: float) -> None:
        ticker = Ticker(time.monotonic(), every_s)
        while True:
            await asyncio.sleep(max(0.0, ticker.due - time.monotonic()))
            ticker.take(time.monotonic())
            for end in self._tags.due():
                self._put(Tick(_tick_sample(end)))


def _tick_sample(source: datetime | None) -> Sample:
    """Return the sample of a trigger that is no value: now by our clock, and `source` by the PLC's."""
    return Sample(None, "good", source, None, utc_now(), time.monotonic())
