"""From a trigger to its part: reads what belongs to it, publishes its request, or answers it where nothing is asked."""

import time
from collections.abc import Mapping
from datetime import datetime

import structlog

from lineside.contract import utc_now, uuid7
from lineside_opcua_bridge.detect import Decision, Detector
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.event_queue import AnswerReceived, EventQueue
from lineside_opcua_bridge.station.handshake_driver import HandshakeDriver
from lineside_opcua_bridge.station.handshake_state import RecoverPart
from lineside_opcua_bridge.station.margin import Margin
from lineside_opcua_bridge.station.ownership import Ownership
from lineside_opcua_bridge.station.parts import Answer, Part, unknown
from lineside_opcua_bridge.station.pending import Asker, PendingRequest, PendingRequests
from lineside_opcua_bridge.station.request_builder import request_of
from lineside_opcua_bridge.station.request_publisher import RequestPublisher
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.tag_cache import TagCache
from lineside_opcua_bridge.station.trigger_check import TriggerCheck, check_of
from lineside_opcua_bridge.station.unusable_trigger import UnusableTrigger
from lineside_opcua_bridge.tags import Alias, parse
from lineside_opcua_bridge.values import Tags
from lineside_opcua_bridge.windows import Unusable

log = structlog.get_logger("lineside.opcua_bridge.station")


class PartIntake:
    """Takes the triggers of one station; `asker` gets the answers to its requests."""

    def __init__(
        self,
        settings: TriggerSettings,
        *,
        asker: Asker,
        max_bytes: int,
        events: EventQueue,
        stamps: Mapping[str, Stamps],
        tags: TagCache,
        detector: Detector | None,
        unusable: UnusableTrigger,
        handshake: HandshakeDriver,
        ownership: Ownership,
        publisher: RequestPublisher,
        pending: PendingRequests,
        metrics: Metrics,
        margin: Margin,
    ) -> None:
        self.paused: str | None = None
        """Why parts are not asked about at present, but answered `unknown` at once."""
        self.is_draining = False
        """Whether the bridge stops: a part that arrives now is recovered by the next start."""
        self._settings = settings
        self._asker = asker
        self._max_bytes = max_bytes
        self._events = events
        self._stamps = stamps
        self._tags = tags
        self._detector = detector
        self._unusable = unusable
        self._handshake = handshake
        self._ownership = ownership
        self._publisher = publisher
        self._pending = pending
        self._metrics = metrics
        self._margin = margin
        node = settings.trigger_node()
        self._is_collected = node is not None and isinstance(parse(node), Alias)
        """Whether the trigger comes by a collector, and cannot be read."""
        self._last_request = 0.0
        """When the last request was made, in ticks."""

    async def trigger(
        self, sample: Sample, known: datetime | None, *, role: str | None = "trigger", recovered: bool
    ) -> None:
        """Take a trigger; `known` is the instant by which it is known, `role` that of its tag, None for the clock."""
        if self.is_draining:
            log.info("a part arrived while stopping; the next start finds it", trigger=self._settings.name)
            return
        self._handshake.mark_handled(known)
        if not self._ownership.asks():
            self._count("not_owner")
            return
        taken = await self._tags.take(self._handshake.binding, self._check(sample, known, role))
        tags, risen = taken.tags, self._handshake.risen_now(known)
        if taken.unmet:
            self._count(Decision.HELD_BACK.value)
            log.info("a condition held a trigger back", trigger=self._settings.name, reason=taken.unmet)
            self._handshake.pass_over(risen)
            if self._detector:
                self._detector.not_asked()
        elif self.paused is not None:
            self._answer(sample, risen, tags, unknown("paused", self.paused))
        elif self._settings.overrun == "skip" and self._handshake.newest:
            why = "it came while another part waited for its verdict"
            self._answer(sample, risen, tags, unknown("overrun", why))
        elif taken.unknown:
            self._answer(sample, risen, tags, unknown("moved_on", taken.unknown, code="moved-on"))
        else:
            await self._ask(sample, risen, tags, recovered=recovered)

    async def tick(self, sample: Sample) -> None:
        """Take a trigger of the clock, or a complete window."""
        if (time.monotonic() - self._last_request) * 1000 < self._settings.min_interval_ms:
            self._count(Decision.TOO_SOON.value)
            return
        self._count(Decision.FIRED.value)
        await self.trigger(sample, sample.source, role=None, recovered=False)

    async def recover(self, found: RecoverPart) -> None:
        """Take a part that the PLC shows and nobody asked about."""
        self._count("recovered")
        self._unusable.settle(is_active=True)
        signal = self._handshake.signal
        sample = found.signal._replace(received=utc_now(), ticks=time.monotonic())
        await self.trigger(sample, found.risen, role=signal.role if signal else "trigger", recovered=True)

    def answer_missed(self, sample: Sample, known: datetime | None, missed: int) -> None:
        """Answer parts that only a counter shows, where the PLC takes the dones in the order of its parts."""
        if self._settings.overrun == "newest" or not self._handshake.rules.writes or self.is_draining:
            return
        if not self._ownership.asks():
            return
        for _ in range(min(missed, self._settings.overrun_limit)):
            risen = self._handshake.risen_now(known)
            self._answer(sample, risen, Tags(), unknown("missed", "it came unseen"))

    def answer_unusable(self, sample: Sample) -> None:
        """Answer the part of a trigger's value that could not be used, where no usable one has followed."""
        if not self._unusable.is_pending or self.is_draining or not self._ownership.asks():
            return
        self._unusable.answered()
        why = f"the trigger's value cannot be used: {repr(sample.value)[:80]}, quality {sample.quality}"
        self._answer(sample, None, Tags(), unknown("trigger", why, code="trigger-unusable"))

    def _check(self, sample: Sample, known: datetime | None, role: str | None) -> TriggerCheck:
        return check_of(
            sample,
            known,
            role,
            detector=self._detector,
            signal=self._handshake.signal,
            stamps=self._stamps.get(role or ""),
            queued=lambda: self._events.queued(role) if role else [],
            is_collected=self._is_collected,
        )

    async def _ask(self, sample: Sample, risen: datetime | None, tags: Tags, *, recovered: bool) -> None:
        source = await self._tags.source(sample)
        if isinstance(source, Unusable):
            self._answer(sample, risen, tags, unknown("window", source.reason, code=source.code))
            return
        limit, run = self._max_bytes, self._ownership.run
        request, payload = request_of(
            self._settings,
            source,
            sample,
            tags,
            margin_ms=self._margin.of(**self._settings.times_s()) * 1000,
            limit=limit,
            bridge=run,
            recovered=recovered,
        )
        if len(payload) > limit:
            why = f"the request has {len(payload)} bytes, bus.max_message_bytes allows {limit}"
            self._answer(sample, risen, tags, unknown("message", why, code="message-too-large"))
            return
        part = self._admit(request.id, sample, risen, tags, asked=True)
        self._last_request = time.monotonic()
        self._pending.open[part.request_id] = PendingRequest(self._asker, request, payload)
        if away := self._publisher.away(part):
            self._events.put(AnswerReceived(part.request_id, away))
        else:
            self._publisher.publish(part, payload)

    def _answer(self, sample: Sample, risen: datetime | None, tags: Tags, answer: Answer) -> None:
        """Admit a part for which there is no request, and give it its answer."""
        part = self._admit(uuid7(), sample, risen, tags, asked=False)
        self._events.put(AnswerReceived(part.request_id, answer))

    def _admit(self, request_id: str, sample: Sample, risen: datetime | None, tags: Tags, *, asked: bool) -> Part:
        part = Part.arrived(
            request_id,
            seen=sample.ticks,
            deadline_s=self._settings.deadline_ms / 1000,
            margin_s=self._margin.of(**self._settings.times_s()),
            part_id=tags.part_id,
            risen=risen,
            epoch=self._handshake.epoch,
            asked=asked,
        )
        self._handshake.admit(part)
        for name, reason in tags.left_out.items():
            self._metrics.sample_failures.labels(self._settings.name, reason).inc()
            log.warning(
                "a tag is left out", trigger=self._settings.name, request_id=request_id, tag=name, reason=reason
            )
        return part

    def _count(self, kind: str) -> None:
        self._metrics.triggers.labels(self._settings.name, kind).inc()
