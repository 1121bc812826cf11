"""Executes the handshake of one station: the reads, writes and timers of the actions that `handshake` returns."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import structlog

from lineside import telemetry
from lineside.contract import Outcome, utc_now
from lineside_opcua_bridge.detect import Detector
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station import handshake
from lineside_opcua_bridge.station.event_queue import AnswerReceived, EventQueue, Recheck
from lineside_opcua_bridge.station.handshake_signal import PART_ID, HandshakeSignal, read_view
from lineside_opcua_bridge.station.handshake_state import (
    MAX_PAUSE_S,
    Action,
    ClearDone,
    ClosePart,
    CountView,
    DropPart,
    HandshakeRules,
    HandshakeState,
    MarkHandled,
    ReadView,
    RecheckLater,
    RecheckNext,
    RecoverPart,
    Situation,
    Step,
    WriteEnd,
    WriteVerdict,
)
from lineside_opcua_bridge.station.margin import Margin
from lineside_opcua_bridge.station.outcome import outcome_of
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.parts import Answer, Part, unknown
from lineside_opcua_bridge.station.pending import PendingRequests
from lineside_opcua_bridge.station.request_publisher import RequestPublisher
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.tag_cache import TagCache
from lineside_opcua_bridge.station.write_back import lower_done, write_back

log = structlog.get_logger("lineside.opcua_bridge.station")

_MIN_PAUSE_S = 0.02
_LEAST_CHECK_S = 0.01
"""The shortest time between two checks whether a part's time is up."""
_MAX_DOUBLINGS = 8
"""After how many attempts the pause is no longer doubled."""


class HandshakeDriver:
    """The handshake of one station; called by the trigger's worker alone.

    `recover` asks about a part that the PLC shows and nobody asked about; `on_outcome` gets each part's outcome.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        rules: HandshakeRules,
        *,
        events: EventQueue,
        stamps: Mapping[str, Stamps],
        tags: TagCache,
        detector: Detector | None,
        ownership: Ownership,
        publisher: RequestPublisher,
        pending: PendingRequests,
        metrics: Metrics,
        margin: Margin,
        on_outcome: Callable[[Outcome], None],
        recover: Callable[[RecoverPart], Awaitable[None]],
    ) -> None:
        self.rules = rules
        self.binding: Binding | None = None
        """The nodes of the present session; None while the PLC is away."""
        self.notification_delay_s = MAX_PAUSE_S / 2
        """Within how many seconds a change in the PLC is notified."""
        self._settings = settings
        self._state = HandshakeState()
        self._events = events
        self._stamps = stamps
        self._tags = tags
        self._detector = detector
        self._ownership = ownership
        self._publisher = publisher
        self._pending = pending
        self._metrics = metrics
        self._margin = margin
        self._on_outcome = on_outcome
        self._recover = recover
        self._deadlines: dict[str, asyncio.TimerHandle] = {}
        self._came: dict[str, float] = {}
        """When the answers were due or came that are to be written at once, in ticks."""
        self._recheck_timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def signal(self) -> HandshakeSignal | None:
        """The signal that says that a part waits."""
        return self.rules.signal

    @property
    def newest(self) -> Part | None:
        """The part that came last and still waits."""
        return self._state.newest

    @property
    def epoch(self) -> int:
        """The present epoch of the signal's values."""
        return self._stamps[self.signal.role].epoch if self.signal else 0

    def risen_now(self, trigger: datetime | None) -> datetime | None:
        """Return when the signal of the part rose whose trigger is known by this instant; None where unknown."""
        return handshake.risen_now(self._state, self.rules, trigger)

    def attach(self, binding: Binding) -> None:
        """Take the nodes of a session."""
        self.binding = binding
        for action in self._step(handshake.attached(self._state)):
            self._schedule(action)

    def detach(self) -> None:
        """Take it that the PLC is away; the parts that wait are kept."""
        self.binding = None
        self._state = handshake.detached(self._state)
        if self._recheck_timer:
            self._recheck_timer.cancel()
            self._recheck_timer = None

    def admit(self, part: Part) -> None:
        """Take a part that arrived; `unknown` answers it when its time is up."""
        for action in self._step(handshake.arrived(self._state, part, self.rules)):
            if isinstance(action, DropPart):
                self._drop(action.part)
            else:
                self._schedule(action)
        self._idle.clear()
        self._check_at(part.deadline - self._margin.longest(**self._settings.times_s()), part)

    def pass_over(self, risen: datetime | None) -> None:
        """Take it that the part whose signal rose then shall get no verdict from us."""
        self._state = handshake.passed_over(self._state, risen)

    def mark_handled(self, risen: datetime | None) -> None:
        """Take it that the signal that rose then is dealt with: its own value, once it comes, is no trigger."""
        if self._detector and self.signal and self.signal.role == "trigger":
            self._detector.mark_handled(risen)

    def take_signal(self, sample: Sample) -> tuple[Action, ...]:
        """Take a value of the signal, as its stamps identify it; return what is to be done."""
        return self._step(handshake.signal_changed(self._state, sample, self.rules, self._situation()))

    def take_low_done(self, sample: Sample) -> tuple[Action, ...]:
        """Take a value of done that is low; return what is to be done."""
        since = sample.source if self._stamps["done"].are_identity else None
        return self._step(handshake.done_lowered(self._state, since))

    async def take_answer(self, request_id: str, answer: Answer, came: float | None = None) -> None:
        """Take the answer to a request, which came at this tick: it is written now, or kept until it is its turn."""
        part = self._state.part(request_id)
        is_taken = part is not None and part.answer is None
        with telemetry.about_request(request_id, trigger=self._settings.name):
            if answer.origin == "result":
                self._count_result(request_id, part, answer, is_taken=is_taken)
            if not is_taken:
                return
            self._cancel_deadline(request_id)
            self._publisher.answered(request_id, answer)
            if self.rules.writes and self.binding is None:
                log.warning("the PLC is away; the verdict is held", verdict=answer.verdict, reason=answer.reason)
            if came is not None:
                self._came[request_id] = came
            await self.follow(
                self._step(handshake.answered(self._state, request_id, answer, self.rules, self._situation()))
            )
            self._came.pop(request_id, None)  # what could not be written at once is no measure

    async def recheck(self, *, recover: bool = True) -> None:
        """Read the view of the station, and do what follows from it."""
        binding = self.binding
        if binding is None or not self.rules.writes:
            return
        try:
            read = await read_view(
                binding,
                self.signal,
                self._stamps,
                last_signal=self._state.signal,
                part_id=self._tags.latest(PART_ID),
            )
        except CallFailed as failed:
            log.warning("cannot look at the station", trigger=self._settings.name, error=failed.what)
            if binding is self.binding:
                self.recheck_later()
            return
        if binding is self.binding:  # else the next session rechecks by itself
            situation = self._situation()
            await self.follow(self._step(handshake.viewed(self._state, read, self.rules, situation, recover=recover)))

    def recheck_later(self) -> None:
        """Recheck after a pause, which doubles with each attempt to write; one such timer at a time."""
        if self._recheck_timer is None and self.binding:
            first = self._state.first
            attempts = (first.attempts if first else 0) or _MAX_DOUBLINGS
            pause = min(MAX_PAUSE_S, _MIN_PAUSE_S * 2.0 ** min(attempts, _MAX_DOUBLINGS))
            self._recheck_timer = asyncio.get_running_loop().call_later(pause, self._recheck_due, self.binding)

    async def idle(self) -> None:
        """Return once no part waits."""
        await self._idle.wait()

    async def follow(self, actions: tuple[Action, ...]) -> None:
        """Execute actions and what follows from them."""
        due = deque(actions)
        while due:
            due.extend(await self._execute(due.popleft()))

    async def _execute(self, action: Action) -> tuple[Action, ...]:
        match action:
            case ReadView():
                await self.recheck()
            case RecheckLater() | RecheckNext():
                self._schedule(action)
            case WriteVerdict(part, answer):
                return await self._write(part, answer)
            case ClearDone():
                lowered = self.binding is not None and await lower_done(
                    self._settings.name, self.binding, self._metrics
                )
                situation = self._situation()
                return self._step(handshake.cleared(self._state, action, self.rules, situation, is_lowered=lowered))
            case RecoverPart():
                log.info("a part waits that was not asked about", trigger=self._settings.name)
                await self._recover(action)
            case ClosePart() | DropPart() | MarkHandled() | CountView():
                self._record(action)
        return ()

    def _schedule(self, action: Action) -> None:
        if isinstance(action, RecheckLater):
            self.recheck_later()
        elif isinstance(action, RecheckNext) and self.binding:
            self._events.put(Recheck(self.binding))

    def _record(self, action: ClosePart | DropPart | MarkHandled | CountView) -> None:
        match action:
            case ClosePart(part, answer):
                self._close(part, answer)
            case DropPart(part):
                self._drop(part)
            case MarkHandled(risen):
                self.mark_handled(risen)
            case CountView(status):
                self._metrics.rechecks.labels(self._settings.name, status.value).inc()

    async def _write(self, part: Part, answer: Answer) -> tuple[Action, ...]:
        binding, settings = self.binding, self._settings.write_back
        end = WriteEnd(done_raised=False, raising=part.raising, failure=part.failure, is_session_lost=True)
        if binding and settings:
            with telemetry.about_request(part.request_id, trigger=self._settings.name):
                began = self._came.pop(part.request_id, time.monotonic())
                end = await write_back(self._settings.name, settings, binding, part, answer, self._metrics)
                if end.done_raised:
                    self._margin.wrote(time.monotonic() - began)
            is_lost = binding.session.lost.done() or binding is not self.binding
            end = WriteEnd(end.done_raised, end.raising, end.failure, is_session_lost=is_lost)
        return self._step(handshake.written(self._state, part.request_id, end, self.rules, self._situation()))

    def _step(self, step: Step) -> tuple[Action, ...]:
        self._state, actions = step
        return actions

    def _situation(self) -> Situation:
        return Situation(
            now=time.monotonic(),
            utc=utc_now(),
            ownership=self._ownership.state,
            epoch=self.epoch,
            notification_delay_s=self.notification_delay_s,
        )

    def _recheck_due(self, binding: Binding) -> None:
        self._recheck_timer = None
        self._events.put(Recheck(binding))

    def _check_at(self, due: float, part: Part) -> None:
        left = due - time.monotonic()
        loop = asyncio.get_running_loop()
        self._deadlines[part.request_id] = loop.call_later(left, self._check_time, due, part)

    def _check_time(self, due: float, part: Part) -> None:
        """Answer a part whose time is up; the margin may have grown or shrunk since it came."""
        now = time.monotonic()
        self._margin.lagged(max(0.0, now - due))
        margin = self._margin.of(**self._settings.times_s())
        left = part.deadline - margin - now
        if left > 0:
            self._check_at(now + max(_LEAST_CHECK_S, left / 2), part)
        else:
            self._time_is_up(part, due, margin)

    def _time_is_up(self, part: Part, due: float, margin_s: float) -> None:
        late = unknown("deadline", f"no verdict {margin_s * 1000:.0f} ms before the deadline")
        self._events.put(AnswerReceived(part.request_id, self._publisher.unsent(part) or late, due))

    def _cancel_deadline(self, request_id: str) -> None:
        if timer := self._deadlines.pop(request_id, None):
            timer.cancel()

    def _count_result(self, request_id: str, part: Part | None, answer: Answer, *, is_taken: bool) -> None:
        first = part.answer if part else None
        if is_taken:
            kind = "matched"
        elif first is None:
            kind = self._pending.closed.kind(request_id)
        else:
            kind = "duplicate" if first.origin == "result" else "late"
        self._metrics.results.labels(kind).inc()
        if not is_taken:
            log.info("a result came too late or twice; it is not written", kind=kind, verdict=answer.verdict)

    def _close(self, part: Part, answer: Answer) -> None:
        name, took = self._settings.name, time.monotonic() - part.seen
        self._metrics.verdicts.labels(name, answer.verdict, answer.origin).inc()
        self._metrics.trigger_to_verdict.labels(name).observe(took)
        self._let_go(part)
        log.info(
            "verdict",
            trigger=name,
            request_id=part.request_id,
            part_id=part.part_id,
            verdict=answer.verdict,
            origin=answer.origin,
            reason=answer.reason,
            written=self.rules.writes,
            ms=round(took * 1000, 1),
        )

    def _drop(self, part: Part) -> None:
        self._metrics.lost_parts.labels(self._settings.name, part.lost or "").inc()
        log.warning(
            "a part got no verdict from us",
            trigger=self._settings.name,
            request_id=part.request_id,
            part_id=part.part_id,
            reason=part.lost,
            held=part.answer.verdict if part.answer else None,
        )
        self._let_go(part)

    def _let_go(self, part: Part) -> None:
        self._came.pop(part.request_id, None)
        self._cancel_deadline(part.request_id)
        self._pending.close(part)
        self._publisher.close(part)
        self._on_outcome(outcome_of(self._settings, part))
        if not self._state.parts:
            self._idle.set()
