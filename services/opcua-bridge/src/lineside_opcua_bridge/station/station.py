"""One station's way from the trigger to its answer: one task, one mailbox, so that its steps never overlap or overtake.

Stations share the session and the bus and nothing else: one that waits for a slow call keeps no other waiting. The
mailbox takes the trigger's values, the answers to our requests, the deadlines, and reasons to look again. Publishing
(`sending`) runs beside it, for a broker that is away must not keep the deadline's `unknown` from the PLC. What the
trigger takes with it is in `listened`, the way back to the PLC in `answering`.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

import structlog

from lineside.bus import Bus
from lineside.connections import Connection
from lineside.contract import Outcome, Source, utc_now, uuid7
from lineside.settings import BusSettings
from lineside_opcua_bridge.detect import Decision, Detection, detector_of
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.settings.triggers import EventTrigger, PeriodTrigger
from lineside_opcua_bridge.station.elements import Elements
from lineside_opcua_bridge.station.handshake import Answering
from lineside_opcua_bridge.station.mailbox import AnswerReceived, Event, Gap, Mailbox, Recheck, Tick, Unread, Value
from lineside_opcua_bridge.station.outcome import outcome_of
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.part_queue import Asked, PartQueue, Pending
from lineside_opcua_bridge.station.parts import Answer, Part, unknown
from lineside_opcua_bridge.station.request_builder import request_of
from lineside_opcua_bridge.station.request_publisher import Sending
from lineside_opcua_bridge.station.rises import rise_of
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.tag_cache import Rise, TagCache
from lineside_opcua_bridge.station.unread import UnreadTrigger
from lineside_opcua_bridge.tags import Alias, parse
from lineside_opcua_bridge.ticker import FairLock, Ticker
from lineside_opcua_bridge.values import Tags
from lineside_opcua_bridge.windows import Unusable

log = structlog.get_logger("lineside.opcua_bridge.station")

_COUNTED = frozenset(set(Decision) - {Decision.NONE, Decision.LOOK})
_WINDOW_CHECK_S = 0.02
"""The shortest time between two looks whether a window is complete."""


class Station:
    """The state of one trigger's station, and the task (`run`) that alone changes it."""

    def __init__(
        self,
        settings: TriggerSettings,
        source: Source | None,
        *,
        bus: Bus,
        topics: BusSettings,
        pending: Pending,
        metrics: Metrics,
        turns: FairLock,
        tell: Callable[[Outcome], None],
        broker: Connection | None = None,
        grace_s: float,
        backlog: int,
        ownership: Ownership | None = None,
        simulate: bool = False,
    ) -> None:
        self.settings = settings
        self.ownership = ownership or Ownership(settings, metrics, simulate=simulate)
        self.ownership.taken = self._look_again
        self._max_bytes = topics.max_message_bytes
        self._pending = pending
        self._metrics = metrics
        self._turns = turns
        self._tell = tell
        self._mailbox = Mailbox(backlog)
        self._listened = TagCache(settings, source, metrics)
        self._sending = Sending(
            settings.name, bus=bus, topic=topics.request_topic, metrics=metrics, decided=self.decided, broker=broker
        )
        self._waiting = PartQueue(
            settings.name,
            overrun=settings.overrun,
            limit=settings.overrun_limit,
            metrics=metrics,
            closed=self._part_closed,
        )
        node = settings.trigger_node()
        self._is_collected = node is not None and isinstance(parse(node), Alias)
        """Whether the trigger comes by a collector, which is asked nothing."""
        watched = {"trigger", "request", "done"} - ({"trigger"} if isinstance(settings.when, EventTrigger) else set())
        elements = settings.elements()
        self._elements = Elements(elements, acted_on=watched)
        self._stamps = {role: Stamps(partial(self._noticed, role), of_element=role in elements) for role in watched}
        self._answering = Answering(
            settings,
            waiting=self._waiting,
            pending=pending,
            mailbox=self._mailbox,
            metrics=metrics,
            grace_s=grace_s,
            simulate=simulate,
            stamps=self._stamps,
            part_id=lambda: self._listened.latest("sample.part_id"),
            found=self._know,
            recover=self._recover,
            ownership=self.ownership,
        )
        self._detector = detector_of(settings, looks=self._answering.writes)
        self._line = 0
        """Which unbroken line of the PLC's values is the present one: a short cut does not end it."""
        self._fresh = False
        """Whether the trigger's next value is the first of a session."""
        self._bounce: asyncio.TimerHandle | None = None
        self._unread = UnreadTrigger(settings, lambda sample: self._mailbox.tell(Unread(sample)))
        self._tasks: asyncio.TaskGroup | None = None
        self._asked_at = 0.0
        self._paused: str | None = None
        self._draining = False

    @property
    def name(self) -> str:
        """The trigger's name."""
        return self.settings.name

    # What the others tell it; none of these waits.

    def attach(self, binding: Binding, *, continuous: bool) -> None:
        """Take the nodes of a session.

        With `continuous` the same subscriptions go on and nothing was lost meanwhile. Without it values may be missing,
        and the present value of every tag follows as its first sample.
        """
        self._answering.bind(binding)
        self.ownership.bind(binding)
        self._listened.seen(binding.session, continuous=continuous)
        by_values = any(item.role == "trigger" and item.event is None for item in binding.items)
        if not continuous:
            self._line += 1
            self._fresh = True
            self._elements.mark_gap()
            self._mark_gap()
        if continuous or not by_values:
            self._mailbox.tell(Recheck(binding, recover=False))
            self._recover_later(binding)

    def detach(self) -> None:
        """Take it that the PLC is out of sight; the parts that wait are kept."""
        self._answering.bind(None)
        self.ownership.bind(None)
        self._listened.seen(None)

    def set_notification_delay(self, seconds: float) -> None:
        """Take it that a change in the PLC comes by its subscription within so many seconds."""
        self._listened.settles_s = self._answering.settles_s = seconds

    def mark_gap(self, role: str | None = None) -> None:
        """Take it that values of the tag with this role, or of all, are missing at this place of their line."""
        if role is None or role in self._listened:
            self._listened.mark_gap(role)
        if role in {None, "trigger", "request", "done"}:
            self._elements.mark_gap()
            self._mailbox.mark_gap()

    def receive(self, binding: Binding | None, role: str, sample: Sample) -> None:
        """Take a value of the tag that has this role; `binding` is None for a tag that comes by a collector."""
        if binding is not None and binding is not self._answering.binding:
            return  # of a session that is gone: the next one looks for itself
        if isinstance(sample.value, list) or role in self._elements:
            taken = self._elements.take(role, sample)
            if taken is None:
                return  # another element of the array changed
            sample = taken
        if self._listened.add(role, sample):
            return
        if not self._mailbox.put(Value(None if binding is None else self._line, role, sample)):
            self._overflowed()

    def decided(self, request_id: str, answer: Answer) -> None:
        """Take the answer to a request."""
        self._mailbox.tell(AnswerReceived(request_id, answer))

    def pause(self, reason: str | None) -> None:
        """Ask about no part from now on, and answer each `unknown` at once; None asks again."""
        self._paused = reason

    def _look_again(self) -> None:
        """Look for a part that waits since before the station was ours."""
        if binding := self._answering.binding:
            self._mailbox.tell(Recheck(binding))

    async def drain(self) -> None:
        """Ask for nothing more and wait until no part waits; a part that arrives now is recovered by the next start."""
        self._draining = True
        await self._waiting.idle()
        await self.ownership.release()

    async def run(self) -> None:
        """Handle what comes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self.ownership.keep(), name=f"ownership {self.name}")
            if isinstance(self.settings.when, PeriodTrigger):
                tasks.create_task(self._keep_time(self.settings.when.every_ms / 1000), name=f"period {self.name}")
            elif self._detector is None and isinstance(self.settings.source, WindowSourceSettings):
                every = max(_WINDOW_CHECK_S, 1 / self.settings.source.rate_hz)
                tasks.create_task(self._watch_windows(every), name=f"windows {self.name}")
            while True:
                await self._handle(await self._mailbox.get())

    async def _handle(self, event: Event) -> None:
        binding = self._answering.binding
        match event:
            case Gap():
                self._mark_gap()
                if binding:
                    await self._answering.look(binding)
            case Value(line, role, sample) if line is None or line == self._line:
                await self._take(role, sample)
            case Tick(sample):
                await self._tick(sample)
            case Recheck(of, recover) if of is binding:
                await self._answering.look(of, recover=recover)
            case AnswerReceived(request_id, answer):
                await self._answering.decided(request_id, answer)
            case Unread(sample):
                self._answer_unread(sample)
            case _:
                pass  # of a session that is gone: the next one looks for itself

    def _overflowed(self) -> None:
        self._metrics.overflow.labels(self.name, "backlog").inc()
        log.warning("a trigger's value was dropped: too many wait", trigger=self.name)
        self._elements.mark_gap()
        self._mailbox.mark_gap()

    # From a value to a trigger.

    async def _take(self, role: str, sample: Sample) -> None:
        binding = self._answering.binding
        level = self._answering.level
        told = self._stamps[role].take(sample) if role in self._stamps else sample
        due = self._answering.seen(told) if level and role == level.role else False
        if role == "done":
            due = sample.value is False and sample.quality != "bad" and self._answering.lowered(sample)
        if role == "trigger":
            if level and level.role == role:
                self._unread.know(level.present(sample))
            await self._see(sample, told)
        if due and binding and binding is self._answering.binding:
            await self._answering.look(binding)

    async def _see(self, sample: Sample, told: Sample) -> None:
        """Act on a value of the trigger; `told` is the same with the instant by which it is known."""
        if self._detector is None:
            return
        seen = self._detector.see(told)
        if sample.stale:
            return
        decision = self._count(sample, seen)
        fresh, self._fresh = self._fresh, self._fresh and decision is Decision.BAD
        binding, level = self._answering.binding, self._answering.level
        if decision is Decision.BAD:
            self._doubt_value(sample)
        elif decision is Decision.TOO_SOON:
            self._answering.pass_over(self._answering.risen_now(told.source))
        elif decision is Decision.DEBOUNCED and binding and level:
            self._settle_later(binding)
        elif decision in {Decision.FIRED, Decision.RECOVERED}:
            self._answer_missed(sample, told.source, seen.missed)
            await self._arrived(sample, told.source, recovered=decision is Decision.RECOVERED)
        elif binding and (decision is Decision.LOOK or fresh):
            if self._waiting or (level and level.role == "trigger" and level.present(sample)):
                await self._answering.look(binding)
            self._recover_later(binding)

    def _mark_gap(self) -> None:
        for stamps in self._stamps.values():
            stamps.mark_gap()
        if self._detector:
            self._detector.mark_gap()

    def _noticed(self, role: str, wrong: str | None) -> None:
        """Say that source timestamps cannot be used, or can again."""
        self._metrics.stamps_unusable.labels(self.name).set(sum(not each.run for each in self._stamps.values()))
        if wrong is None:
            log.info("source timestamps run forward again", trigger=self.name, role=role)
            return
        log.warning(
            "the source timestamps of a tag cannot be used, and are not",
            trigger=self.name,
            role=role,
            they=wrong,
            remedy="let the PLC's server stamp each value when it is written, finer than a second",
        )

    def _doubt_value(self, sample: Sample) -> None:
        """Look again soon; where nothing usable comes until the part would have to be answered, answer it."""
        log.warning("a trigger's value is unusable", trigger=self.name, value=repr(sample.value)[:80])
        level, binding = self._answering.level, self._answering.binding
        if binding is None or level is None or level.role != "trigger":
            return
        self._answering.look_later(binding)
        if self._answering.writes:
            self._unread.hold(sample, level)

    def _answer_unread(self, sample: Sample) -> None:
        if not self._unread.is_pending or self._draining or not self.ownership.asks():
            return
        self._unread.answered()
        why = f"the trigger's value cannot be used: {repr(sample.value)[:80]}, quality {sample.quality}"
        self._admit(sample, None, Tags(), unknown("trigger", why, code="trigger-unusable"))

    def _answer_missed(self, sample: Sample, told: datetime | None, missed: int) -> None:
        """Answer the parts that nobody saw `unknown`, where the PLC takes the dones in the order of its parts."""
        if self.settings.overrun == "newest" or not self._answering.writes or self._draining:
            return
        if not self.ownership.asks():
            return
        for _ in range(min(missed, self.settings.overrun_limit)):
            risen = self._answering.risen_now(told)
            self._admit(sample, risen, Tags(), unknown("missed", "it came unseen"))

    def _recover_later(self, binding: Binding) -> None:
        """Look whether the PLC asks by a Boolean of its own, once the trigger that goes with it had time to come."""
        level = self._answering.level
        if level and level.role == "request":
            self._answering.look_later(binding)

    def _count(self, sample: Sample, seen: Detection) -> Decision:
        if sample.overflow:
            self._metrics.overflow.labels(self.name, "server").inc()
            log.warning(
                "the server dropped values of a trigger", trigger=self.name, remedy="lower publishing_interval_ms"
            )
        if seen.decision in _COUNTED:
            self._metrics.triggers.labels(self.name, seen.decision.value).inc()
        if seen.missed:
            self._metrics.missed_parts.labels(self.name).inc(seen.missed)
            log.warning("parts came that nobody asked about", trigger=self.name, missed=seen.missed)
        return seen.decision

    def _settle_later(self, binding: Binding) -> None:
        """Look once the debounce is over: what was ignored may have been a part after all.

        A part that still waits and has no id could not be told from its own bounce, and is left alone.
        """

        def settled() -> None:
            self._bounce = None
            newest = self._waiting.newest
            if newest is None or newest.part_id is not None:
                self._mailbox.tell(Recheck(binding))

        if self._bounce is None:
            self._bounce = asyncio.get_running_loop().call_later(self.settings.debounce_s(), settled)

    def _know(self, risen: datetime | None) -> None:
        level = self._answering.level
        if self._detector and level and level.role == "trigger":
            self._detector.know(risen)

    async def _recover(self, shown: Sample, known: datetime | None) -> None:
        self._metrics.triggers.labels(self.name, "recovered").inc()
        self._unread.know(active=True)
        level = self._answering.level
        sample = shown._replace(received=utc_now(), ticks=time.monotonic())
        await self._arrived(sample, known, role=level.role if level else "trigger", recovered=True)

    # Triggers that are no value.

    async def _keep_time(self, every: float) -> None:
        grid = Ticker(time.monotonic(), every)
        while True:
            await asyncio.sleep(max(0.0, grid.due - time.monotonic()))
            if missed := grid.take(time.monotonic()):
                self._metrics.triggers.labels(self.name, "missed_tick").inc(missed)
                log.warning("ticks of a period were missed", trigger=self.name, missed=missed)
            if self.settings.needs_plc() and self._answering.binding is None:
                self._metrics.triggers.labels(self.name, "plc_away").inc()
            elif not self._mailbox.put(Tick(_moment(None))):
                self._overflowed()

    async def _watch_windows(self, every: float) -> None:
        grid = Ticker(time.monotonic(), every)
        while True:
            await asyncio.sleep(max(0.0, grid.due - time.monotonic()))
            grid.take(time.monotonic())
            for end in self._listened.due():
                if not self._mailbox.put(Tick(_moment(end))):
                    self._overflowed()

    async def _tick(self, sample: Sample) -> None:
        await self._turns.take()
        if (time.monotonic() - self._asked_at) * 1000 < self.settings.min_interval_ms:
            self._metrics.triggers.labels(self.name, Decision.TOO_SOON.value).inc()
            return
        self._metrics.triggers.labels(self.name, Decision.FIRED.value).inc()
        await self._arrived(sample, sample.source, role=None, recovered=False)

    # From a trigger to the request.

    async def _arrived(
        self, sample: Sample, known: datetime | None, *, role: str | None = "trigger", recovered: bool
    ) -> None:
        """Ask about a part; `known` is the instant by which its trigger is known."""
        if self._draining:
            log.info("a part arrived while stopping; the next start finds it", trigger=self.name)
            return
        self._know(known)
        if not self.ownership.asks():
            self._metrics.triggers.labels(self.name, "not_owner").inc()
            return
        taken = await self._listened.take(self._answering.binding, self._rise(sample, known, role))
        tags, risen = taken.tags, self._answering.risen_now(known)
        if taken.unmet:
            self._metrics.triggers.labels(self.name, Decision.HELD_BACK.value).inc()
            log.info("a condition held a trigger back", trigger=self.name, reason=taken.unmet)
            self._answering.pass_over(risen)
            if self._detector:
                self._detector.not_asked()
        elif self._paused is not None:
            self._admit(sample, risen, tags, unknown("paused", self._paused))
        elif self.settings.overrun == "skip" and self._waiting:
            self._admit(sample, risen, tags, unknown("overrun", "it came while another part waited for its verdict"))
        elif taken.unknown:
            self._admit(sample, risen, tags, unknown("moved_on", taken.unknown, code="moved-on"))
        else:
            await self._ask(sample, risen, tags, recovered=recovered)

    def _rise(self, sample: Sample, known: datetime | None, role: str | None) -> Rise:
        return rise_of(
            sample,
            known,
            role,
            detector=self._detector,
            level=self._answering.level,
            stamps=self._stamps.get(role or ""),
            waiting=lambda: self._mailbox.waiting(role) if role else [],
            is_collected=self._is_collected,
        )

    async def _ask(self, sample: Sample, risen: datetime | None, tags: Tags, *, recovered: bool) -> None:
        source = await self._listened.source(sample)
        if isinstance(source, Unusable):
            self._admit(sample, risen, tags, unknown("window", source.reason, code=source.code))
            return
        most = self._max_bytes
        request, payload = request_of(
            self.settings, source, sample, tags, limit=most, bridge=self.ownership.run, recovered=recovered
        )
        if len(payload) > most:
            why = f"the request has {len(payload)} bytes, bus.max_message_bytes allows {most}"
            self._admit(sample, risen, tags, unknown("message", why, code="message-too-large"))
            return
        part = self._admit(sample, risen, tags, None, request.id)
        self._asked_at = time.monotonic()
        self._pending.asked[part.request_id] = Asked(self, request, payload)
        if away := self._sending.away(part):
            self.decided(part.request_id, away)
        elif self._tasks:
            self._sending.send(part, payload, self._tasks)

    def _admit(
        self,
        sample: Sample,
        risen: datetime | None,
        tags: Tags,
        answer: Answer | None,
        request_id: str | None = None,
    ) -> Part:
        """Put a part in line, with the answer that it has already where there is no request for it."""
        part = Part.arrived(
            request_id or uuid7(),
            seen=sample.ticks,
            deadline_s=self.settings.deadline_ms / 1000,
            margin_s=self.settings.margin_ms / 1000,
            part_id=tags.part_id,
            risen=risen,
            line=self._answering.line,
        )
        part.asked = answer is None
        late = unknown("deadline", f"no verdict {self.settings.margin_ms:g} ms before the deadline")
        self._waiting.admit(part, lambda: self.decided(part.request_id, self._sending.unsent(part) or late))
        self._answering.admitted()
        for name, reason in tags.left_out.items():
            self._metrics.sample_failures.labels(self.name, reason).inc()
            log.warning("a tag is left out", trigger=self.name, request_id=part.request_id, tag=name, reason=reason)
        if answer:
            self.decided(part.request_id, answer)
        return part

    def _part_closed(self, part: Part) -> None:
        self._pending.close(part)
        self._sending.closed(part)
        self._tell(outcome_of(self.settings, part))


def _moment(source: datetime | None) -> Sample:
    """Return a trigger that is no value: now by our clock, and the instant of the PLC's clock that it stands for."""
    return Sample(None, "good", source, None, utc_now(), time.monotonic())
