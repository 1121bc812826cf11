"""From the answer to done: written in turn, repeated only after a look, and done handed back to the PLC.

A write that failed, or that an outage kept waiting, is repeated only after a look at the PLC has shown that the same
part still waits (see `parts`). Where the parts wait in line, the next verdict is written once done was lowered. With
`clear_done: bridge` done is lowered as soon as the PLC has lowered its request, and a verdict is written only while the
request is up: the PLC that took its request back does not want it any more.

Without nodes to write to, and with `simulate`, a part is closed by its answer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from lineside import telemetry
from lineside.backoff import Backoff
from lineside.contract import utc_now
from lineside_opcua_bridge.link.session import CallFailed
from lineside_opcua_bridge.link.subscriber import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal, Shown, look_at
from lineside_opcua_bridge.station.mailbox import Mailbox, Recheck
from lineside_opcua_bridge.station.ownership import Ownership, Place
from lineside_opcua_bridge.station.part_queue import PartQueue, Pending
from lineside_opcua_bridge.station.parts import (
    Answer,
    Part,
    PartStatus,
    StationView,
    in_time,
    standing,
    standing_in_line,
    standing_without_level,
)
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.station.write_back import lower_done, write_back

log = structlog.get_logger("lineside.opcua_bridge.station")

_LONGEST_PAUSE_S = 0.25
_BACKOFF = Backoff(first_s=0.02, longest_s=_LONGEST_PAUSE_S)
_PATIENT = 8
"""After how many attempts the pause is the longest."""


class Answering:
    """The way back of one station; called by the station's task alone.

    `found` is told when each level that a look finds active rose, `recover` of one that nobody asked about.
    """

    def __init__(
        self,
        settings: TriggerSettings,
        *,
        waiting: PartQueue,
        pending: Pending,
        mailbox: Mailbox,
        metrics: Metrics,
        grace_s: float,
        simulate: bool,
        stamps: Mapping[str, Stamps],
        part_id: Callable[[], Sample | None],
        found: Callable[[datetime | None], None],
        recover: Callable[[Sample, datetime | None], Awaitable[None]],
        ownership: Ownership,
    ) -> None:
        self._name = settings.name
        self._to = None if simulate else settings.write_back
        self._hands_back = self._to is not None and self._to.clear_done == "bridge"
        self._in_line = settings.overrun != "newest"
        self.level = HandshakeSignal.of(settings)
        self._waiting = waiting
        self._pending = pending
        self._mailbox = mailbox
        self._metrics = metrics
        self._stamps = stamps
        self._grace_s = grace_s
        self._part_id = part_id
        self._found = found
        self._recover = recover
        self._ownership = ownership
        self._binding: Binding | None = None
        self._unsure = False
        """Whether the PLC was out of sight since the part arrived."""
        self._raised = False
        """Whether done was raised by us and not seen lowered since."""
        self._served: tuple[datetime, int] | None = None
        """When the request that done was raised for rose, and which unbroken line of values says so."""
        self._low_since: datetime | None = None
        """Since when done is low, by the PLC's clock; None where that is not known."""
        self._level_seen: Sample | None = None
        self._shown_first: tuple[datetime | None, float] = None, 0.0
        """When the level that is active now rose, and when we first looked at it, in ticks."""
        self._passed_over: datetime | None = None
        self._ahead_since: float | None = None
        """Since when looks see a level that its line of values has not brought yet, in ticks."""
        self.settles_s = _LONGEST_PAUSE_S / 2
        """Within what time a change in the PLC has come by its subscription."""
        self._retry: asyncio.TimerHandle | None = None

    @property
    def writes(self) -> bool:
        """Whether verdicts are written to the PLC."""
        return self._to is not None

    @property
    def binding(self) -> Binding | None:
        """The nodes of the present session; None while the PLC is away."""
        return self._binding

    def bind(self, binding: Binding | None) -> None:
        """Take the nodes of a session, or that the PLC is away; the parts that wait are kept."""
        self._binding = binding
        self._unsure = self._unsure or binding is None
        if binding is None and self._retry:
            self._retry.cancel()
            self._retry = None

    def admitted(self) -> None:
        """Take it that a part came that the PLC shows now."""
        if not self._in_line:
            self._unsure = self._binding is None

    def pass_over(self, risen: datetime | None) -> None:
        """Take it that the part that rose then shall get no verdict from us."""
        self._passed_over = risen

    def seen(self, sample: Sample) -> bool:
        """Take a value of the level as its stamps tell it; return whether a look is due for it."""
        before, self._level_seen = self._level_seen, sample
        self._ahead_since = None
        present = self.level.present(sample) if self.level else None
        newest, first = self._waiting.newest, self._waiting.first
        if self.level and self.level.role == "request" and present and newest and not newest.attempts:
            newest.risen, newest.line = sample.source, self.line
        if not self._hands_back or present is None:
            return False
        if present:
            return first is not None and first.answer is not None
        return self._raised or before is None or self._unsure

    def lowered(self, low: Sample) -> bool:
        """Take a value of done that is low; return whether a look is due for it, which alone tells how it is now."""
        self._low_since = low.source if self._stamps["done"].identify else None
        first = self._waiting.first
        return first is not None and first.answer is not None

    @property
    def line(self) -> int:
        """Which unbroken line of the level's values is the present one."""
        return self._stamps[self.level.role].line if self.level else 0

    def risen_now(self, trigger: datetime | None) -> datetime | None:
        """Return when the level of the part of a trigger of this instant rose, as far as that is known."""
        if self.level is None:
            return None
        if self.level.role == "trigger":
            return trigger
        return self._level_seen.source if self._level_seen and self.level.present(self._level_seen) else None

    async def decided(self, request_id: str, answer: Answer) -> None:
        """Take the answer to a request: write it, or keep it until it is its turn."""
        part = self._waiting.get(request_id)
        with telemetry.about_request(request_id, trigger=self._name):
            taken = part is not None and part.decide(answer)
            if answer.origin == "result":
                self._count(request_id, part, answer, taken=taken)
            if not taken or part is None:
                return
            self._waiting.settle(part)
            if not self.writes:
                self._closed(part, answer)
            elif self._binding is None:
                log.warning("the PLC is away; the verdict is held", verdict=answer.verdict, reason=answer.reason)
            elif part is self._waiting.first:
                await self._turn(self._binding, part, answer)

    async def _turn(self, binding: Binding, part: Part, answer: Answer) -> None:
        in_doubt = self._unsure or time.monotonic() > part.deadline
        not_yet = self._in_line and self._raised
        if self._hands_back:
            if self._raised and not self._in_line and not await self._lower(binding):
                self.look_later(binding)
                return
            not_yet = not_yet or not (self.level and self.level.present(self._level_seen))
        if in_doubt or not_yet:
            await self.look(binding)
        else:
            await self._write(binding, part, answer)

    def _count(self, request_id: str, part: Part | None, answer: Answer, *, taken: bool) -> None:
        first = part.answer if part else None
        if taken:
            kind = "matched"
        elif first is None:
            kind = self._pending.closed.kind(request_id)
        else:
            kind = "duplicate" if first.origin == "result" else "late"
        self._metrics.results.labels(kind).inc()
        if not taken:
            log.info("a result came too late or twice; it is not written", kind=kind, verdict=answer.verdict)

    async def look(self, binding: Binding, *, recover: bool = True) -> None:
        """Read how the PLC sees the station, and do what follows from it."""
        if not self.writes:
            return
        try:
            shown = await look_at(binding, self.level, self._stamps, seen=self._level_seen, part_id=self._part_id())
        except CallFailed as failed:
            log.warning("cannot look at the station", trigger=self._name, error=failed.what)
            self.look_later(binding)
            return
        ahead = self._is_ahead(shown)
        if shown.is_early and ahead:
            self.look_later(binding)
            return
        look, first = shown.look, self._waiting.first
        if self._hands_back and look.done and self._raised and first and not first.attempts and self._asks_anew(look):
            # The PLC asks again before it saw done go down: what it shows is of the part before.
            look = replace(look, done=not await self._lower(binding))
        stands = self._standing(look)
        self._metrics.looks.labels(self._name, stands.value).inc()
        self._unsure = self._unsure and stands is PartStatus.UNREADABLE
        if look.done is False:
            self._raised = False
            self._low_since = look.done_since
        elif look.done and self._hands_back and stands is PartStatus.NOTHING:
            self._raised = True  # by the bridge before us: it is ours to lower
        if look.present and not ahead:
            self._found(look.risen)
        if stands is PartStatus.NEW and shown.level:
            await self._new(binding, shown.level, look, recover=recover and not ahead)
        else:
            await self._known(binding, look, stands)
        if self._hands_back and look.done and look.present is False and not await self._lower(binding):
            self.look_later(binding)

    def _asks_anew(self, look: StationView) -> bool:
        """Whether the PLC raised its request again since done was raised: in line, the next part waits before that."""
        if not self._in_line:
            return True
        if not look.present or look.risen is None or self._served is None:
            return False
        risen, line = self._served
        return look.risen != risen and look.line in {None, line}

    def _standing(self, look: StationView) -> PartStatus:
        now, parts = time.monotonic(), self._waiting.parts
        if self._in_line:
            return standing_in_line(
                parts,
                look,
                now,
                level=self.level is not None,
                grace_s=self._grace_s,
                taking=self._raised,
                lowers=not self._hands_back,
            )
        first = parts[0] if parts else None
        if self.level is None:
            return standing_without_level(first, look, now, grace_s=self._grace_s)
        return standing(first, look, now, grace_s=0.0 if self._hands_back else self._grace_s)

    async def _new(self, binding: Binding, shown: Sample, look: StationView, *, recover: bool) -> None:
        first = self._waiting.first
        if look.risen is not None and look.risen == self._passed_over:
            if first and not self._in_line:
                self._waiting.drop(first, "gone")
        elif not recover or self._is_fresh(look):  # its own value is on its way
            self.look_later(binding)
            return
        else:
            log.info("a part waits that was not asked about", trigger=self._name)
            await self._recover(shown, look.risen)
        if self._in_line and first and first.answer:
            self.look_later(binding)

    def _is_ahead(self, shown: Shown) -> bool:
        """Whether the look is ahead of the level's line, which brings its value by itself: relied on for a while."""
        if not (shown.on_its_way or shown.is_early):
            self._ahead_since = None
            return False
        now = time.monotonic()
        self._ahead_since = self._ahead_since or now
        return now - self._ahead_since < 2 * max(self.settles_s, _LONGEST_PAUSE_S)

    def _is_fresh(self, look: StationView) -> bool:
        """Whether a Boolean beside the trigger rose only now: the trigger that goes with it may still come."""
        if self.level is None or self.level.role != "request":
            return False
        now = time.monotonic()
        if self._shown_first[0] != look.risen or look.risen is None:
            self._shown_first = look.risen, now
        return look.risen is not None and now - self._shown_first[1] < _LONGEST_PAUSE_S

    async def _known(self, binding: Binding, look: StationView, stands: PartStatus) -> None:
        part = self._waiting.first
        unread = part is not None and part.answer is not None and part.answer.origin == "trigger"
        if part and part.answer and unread and stands is PartStatus.UNREADABLE and look.done is False:
            await self._write(binding, part, part.answer)  # that its trigger cannot be read is what it is told
        elif stands in {PartStatus.UNREADABLE, PartStatus.TAKING}:
            self.look_later(binding)
        elif part is None:
            return
        elif stands is PartStatus.GONE:
            self._waiting.drop(part, "not_taken" if self._in_line and look.done else "gone")
            self._next(binding)
        elif stands is PartStatus.ANSWERED and part.answer and part.attempts and look.done:
            self._written(binding, part, part.answer)
        elif stands is PartStatus.ANSWERED and part.answer and part.attempts:
            self._waiting.drop(part, "unproven")  # done may have been raised, taken and lowered unseen
            self._raised = False
            self._next(binding)
        elif stands is PartStatus.ANSWERED:
            self._waiting.drop(part, "answered_elsewhere")
            self._next(binding)
        elif stands is PartStatus.WAITING and part.answer:
            if self._hands_back and not look.present:
                self.look_later(binding)  # until the PLC wants it, or the deadline
                return
            shows_it = look.present and not self._in_line and look.line is None
            part.answer = in_time(part, part.answer, time.monotonic(), risen=look.risen if shows_it else None)
            await self._write(binding, part, part.answer)

    async def _write(self, binding: Binding, part: Part, answer: Answer) -> None:
        if self._to is None:
            return
        if self._ownership.place is not Place.OWNER:
            if self._ownership.place is Place.STANDBY or time.monotonic() > part.deadline + self._grace_s:
                self._waiting.drop(part, "not_owner")
                self._next(binding)
            else:
                self.look_later(binding)
            return
        part.attempts += 1
        part.low_since, self._low_since = self._low_since, None
        with telemetry.about_request(part.request_id, trigger=self._name):
            if await write_back(self._name, self._to, binding, part, answer, self._metrics):
                self._written(binding, part, answer)
            elif binding.session.lost.done() or binding is not self._binding:
                self._unsure = True  # held until the PLC is back
            elif time.monotonic() > part.deadline + self._grace_s:
                self._waiting.drop(part, "write_failed")
                self._next(binding)
            else:
                self.look_later(binding)

    def _written(self, binding: Binding, part: Part, answer: Answer) -> None:
        self._raised = True
        part.written, part.written_late = utc_now(), time.monotonic() > part.deadline
        served = self._level_seen.source if self._level_seen and self.level else None
        self._served = (served, self.line) if served else None
        self._closed(part, answer)
        self._next(binding)

    def _next(self, binding: Binding) -> None:
        """Look at once where the next in line has its answer already, or where the PLC took its request back."""
        first = self._waiting.first
        taken_back = self._hands_back and self.level and self.level.present(self._level_seen) is False
        if taken_back or (first and first.answer):
            self._mailbox.tell(Recheck(binding))

    def _closed(self, part: Part, answer: Answer) -> None:
        took = time.monotonic() - part.seen
        self._metrics.verdicts.labels(self._name, answer.verdict, answer.origin).inc()
        self._metrics.trigger_to_verdict.labels(self._name).observe(took)
        self._waiting.close(part)
        log.info(
            "verdict",
            trigger=self._name,
            request_id=part.request_id,
            part_id=part.part_id,
            verdict=answer.verdict,
            origin=answer.origin,
            reason=answer.reason,
            written=self.writes,
            ms=round(took * 1000, 1),
        )

    async def _lower(self, binding: Binding) -> bool:
        if self._ownership.place is not Place.OWNER:
            return self._ownership.place is Place.STANDBY  # its owner lowers it
        lowered = await lower_done(self._name, binding, self._metrics)
        self._raised = self._raised and not lowered
        return lowered

    def look_later(self, binding: Binding) -> None:
        """Look after a while; one such timer at a time."""
        if self._retry is None:
            first = self._waiting.first
            tried = (first.attempts if first else 0) or _PATIENT
            self._retry = asyncio.get_running_loop().call_later(_BACKOFF.wait_s(tried), self._again, binding)

    def _again(self, binding: Binding) -> None:
        self._retry = None
        self._mailbox.tell(Recheck(binding))
