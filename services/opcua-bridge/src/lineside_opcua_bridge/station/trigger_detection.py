"""From the values of trigger, request and done to triggers, and to the reasons to read the view of the PLC."""

import asyncio
from collections.abc import Mapping
from functools import partial

import structlog

from lineside_opcua_bridge.detect import Decision, Detection, Detector
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.event_queue import EventQueue, Recheck
from lineside_opcua_bridge.station.handshake_driver import HandshakeDriver
from lineside_opcua_bridge.station.handshake_state import Action
from lineside_opcua_bridge.station.part_intake import PartIntake
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.unusable_trigger import UnusableTrigger

log = structlog.get_logger("lineside.opcua_bridge.station")

_COUNTED = frozenset(set(Decision) - {Decision.NONE, Decision.RECHECK})


def stamps_of(settings: TriggerSettings, roles: set[str], metrics: Metrics) -> dict[str, Stamps]:
    """Return the stamps of a trigger's tags by role; a change of whether they can be used is counted and logged."""
    stamps: dict[str, Stamps] = {}

    def report(role: str, wrong: str | None) -> None:
        metrics.stamps_unusable.labels(settings.name).set(sum(not each.are_usable for each in stamps.values()))
        if wrong is None:
            log.info("source timestamps run forward again", trigger=settings.name, role=role)
            return
        log.warning(
            "the source timestamps of a tag cannot be used, and are not",
            trigger=settings.name,
            role=role,
            they=wrong,
            remedy="let the PLC's server stamp each value when it is written, finer than a second",
        )

    elements = settings.elements()
    stamps |= {role: Stamps(partial(report, role), of_element=role in elements) for role in roles}
    return stamps


class TriggerDetection:
    """The values of one trigger; `detector` is None for a trigger by the clock or by a window."""

    def __init__(
        self,
        settings: TriggerSettings,
        *,
        detector: Detector | None,
        stamps: Mapping[str, Stamps],
        unusable: UnusableTrigger,
        events: EventQueue,
        handshake: HandshakeDriver,
        intake: PartIntake,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._stamps = stamps
        self._unusable = unusable
        self._events = events
        self._handshake = handshake
        self._intake = intake
        self._metrics = metrics
        self._is_first = False
        """Whether the trigger's next usable value is the first of a session."""
        self._debounce_timer: asyncio.TimerHandle | None = None

    def begin_session(self) -> None:
        """Take it that the next values are the first of a session, and that values may be missing before them."""
        self._is_first = True
        self.mark_gap()

    def mark_gap(self) -> None:
        """Take it that values may be missing before the next ones."""
        for stamps in self._stamps.values():
            stamps.mark_gap()
        if self._detector:
            self._detector.mark_gap()

    async def take(self, role: str, sample: Sample) -> None:
        """Take a value of the tag with this role."""
        binding, signal = self._handshake.binding, self._handshake.signal
        identified = self._stamps[role].take(sample) if role in self._stamps else sample
        actions: tuple[Action, ...] = ()
        if signal and role == signal.role:
            actions = self._handshake.take_signal(identified)
        if role == "done" and sample.value is False and sample.quality != "bad":
            actions = self._handshake.take_low_done(sample)
        if role == "trigger":
            if signal and signal.role == role:
                self._unusable.settle(is_active=signal.present(sample))
            await self._detect(sample, identified)
        if binding and binding is self._handshake.binding:
            await self._handshake.follow(actions)

    def recheck_request_later(self) -> None:
        """Recheck a request signal beside the trigger, once the trigger that belongs to it has had time to come."""
        signal = self._handshake.signal
        if signal and signal.role == "request":
            self._handshake.recheck_later()

    async def _detect(self, sample: Sample, identified: Sample) -> None:
        """Act on a value of the trigger; `identified` has the instant by which it is known."""
        if self._detector is None:
            return
        detection = self._detector.see(identified)
        if sample.stale:
            return
        decision = detection.decision
        self._count(sample, detection)
        is_first, self._is_first = self._is_first, self._is_first and decision is Decision.BAD
        binding, signal = self._handshake.binding, self._handshake.signal
        if decision is Decision.BAD:
            self._take_unusable(sample)
        elif decision is Decision.TOO_SOON:
            self._handshake.pass_over(self._handshake.risen_now(identified.source))
        elif decision is Decision.DEBOUNCED and binding and signal:
            self._recheck_after_debounce(binding)
        elif decision in {Decision.FIRED, Decision.RECOVERED}:
            self._intake.answer_missed(sample, identified.source, detection.missed)
            await self._intake.trigger(sample, identified.source, recovered=decision is Decision.RECOVERED)
        elif binding and (decision is Decision.RECHECK or is_first):
            if self._handshake.newest or (signal and signal.role == "trigger" and signal.present(sample)):
                await self._handshake.recheck()
            self.recheck_request_later()

    def _take_unusable(self, sample: Sample) -> None:
        """Recheck soon; where no usable value comes until the part would have to be answered, it is answered."""
        log.warning("a trigger's value is unusable", trigger=self._settings.name, value=repr(sample.value)[:80])
        signal = self._handshake.signal
        if self._handshake.binding is None or signal is None or signal.role != "trigger":
            return
        self._handshake.recheck_later()
        if self._handshake.rules.writes:
            self._unusable.hold(sample, signal)

    def _recheck_after_debounce(self, binding: Binding) -> None:
        """Recheck once the debounce is over: a value that was ignored may have been a part after all.

        A part that still waits and has no id cannot be told from its own bounce, and is left alone.
        """

        def is_over() -> None:
            self._debounce_timer = None
            newest = self._handshake.newest
            if newest is None or newest.part_id is not None:
                self._events.put(Recheck(binding))

        if self._debounce_timer is None:
            delay = self._settings.debounce_s()
            self._debounce_timer = asyncio.get_running_loop().call_later(delay, is_over)

    def _count(self, sample: Sample, detection: Detection) -> None:
        name = self._settings.name
        if sample.overflow:
            self._metrics.overflow.labels(name, "server").inc()
            log.warning("the server dropped values of a trigger", trigger=name, remedy="lower publishing_interval_ms")
        if detection.decision in _COUNTED:
            self._metrics.triggers.labels(name, detection.decision.value).inc()
        if detection.missed:
            self._metrics.missed_parts.labels(name).inc(detection.missed)
            log.warning("parts came that nobody asked about", trigger=name, missed=detection.missed)
