"""One station's way from the edge to done: one task, one mailbox, so that its steps never overlap or overtake.

Stations share the session and the bus and nothing else: one that waits for a slow call keeps no other waiting. The
mailbox takes the trigger's values, the answer to our request, the deadline, and reasons to look again. Publishing runs
beside it, for a broker that is away must not keep the deadline's `unknown` from the PLC.

A write that failed, or that an outage kept waiting, is repeated only after a look at the PLC has shown that the same
part still waits (see `parts`).
"""

import asyncio
import time
from dataclasses import dataclass

import structlog
from asyncua.ua.attribute_ids import AttributeIds

from lineside import telemetry
from lineside.bus import Bus
from lineside.contract import Source, utc_now
from lineside.errors import BusError
from lineside.settings import BusSettings
from lineside_opcua_bridge.asking import request_of
from lineside_opcua_bridge.binding import Binding
from lineside_opcua_bridge.metrics import Metrics
from lineside_opcua_bridge.parts import Answer, Closed, Look, Part, Standing, standing
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.session import CallFailed
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.trigger import Decision, EdgeDetector
from lineside_opcua_bridge.values import Tags, boolean, instant, sample_of, tags_of
from lineside_opcua_bridge.write_back import write_back

log = structlog.get_logger("lineside.opcua_bridge.station")

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.25
_PATIENT = 8
"""After how many attempts the pause is the longest."""


@dataclass(frozen=True)
class _Value:
    binding: Binding
    sample: Sample


@dataclass(frozen=True)
class _Again:
    binding: Binding


@dataclass(frozen=True)
class _Doubt:
    binding: Binding


@dataclass(frozen=True)
class _Decided:
    request_id: str
    answer: Answer


class Pending:
    """Which station waits for which request, and which requests no longer wait."""

    def __init__(self) -> None:
        self.stations: dict[str, Station] = {}
        self.closed = Closed()

    def close(self, part: Part) -> None:
        """Wait for this part's request no longer."""
        self.stations.pop(part.request_id, None)
        self.closed.add(part.request_id, by_result=part.answer is not None and part.answer.origin == "result")


class Station:
    """The state of one trigger's station, and the task (`run`) that alone changes it."""

    def __init__(
        self,
        settings: TriggerSettings,
        source: Source,
        *,
        bus: Bus,
        topics: BusSettings,
        pending: Pending,
        metrics: Metrics,
        grace_s: float,
        backlog: int,
    ) -> None:
        self.settings = settings
        self._source = source
        self._bus = bus
        self._topics = topics
        self._pending = pending
        self._metrics = metrics
        self._grace_s = grace_s
        self._backlog = backlog
        self._mailbox: asyncio.Queue[_Value | _Again | _Doubt | _Decided] = asyncio.Queue()
        self._detector = EdgeDetector(settings.debounce_ms / 1000)
        self._binding: Binding | None = None
        self._part: Part | None = None
        self._unsure = False
        """Whether the PLC was out of sight since the part arrived."""
        self._deadline: asyncio.TimerHandle | None = None
        self._bounce: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._publishing: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._doubted = False
        self._draining = False
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def name(self) -> str:
        """The trigger's name."""
        return self.settings.name

    # What the others tell it; none of these waits.

    def bound(self, binding: Binding) -> None:
        """Take the nodes of a new session; the trigger's present value must follow as its first sample."""
        self._binding = binding
        self._detector.doubt()

    def unbound(self) -> None:
        """Take it that the PLC is out of sight; the part that waits is kept."""
        self._binding = None
        self._unsure = True
        if self._retry:
            self._retry.cancel()
            self._retry = None

    def doubt(self) -> None:
        """Take it that values of the trigger are missing at this place of their line."""
        if self._binding and not self._doubted:
            self._doubted = True
            self._mailbox.put_nowait(_Doubt(self._binding))

    def value(self, binding: Binding, role: str, sample: Sample) -> None:
        """Take a value of the tag that has this role for the station."""
        if role != "trigger":
            return
        if self._mailbox.qsize() >= self._backlog:
            self._metrics.overflow.labels(self.name, "backlog").inc()
            log.warning("a trigger's value was dropped: too many wait", trigger=self.name, backlog=self._backlog)
            self.doubt()
            return
        self._mailbox.put_nowait(_Value(binding, sample))

    def decided(self, request_id: str, answer: Answer) -> None:
        """Take the answer to a request."""
        self._mailbox.put_nowait(_Decided(request_id, answer))

    async def drain(self) -> None:
        """Ask for nothing more and wait until no part waits; a part that arrives now is recovered by the next start."""
        self._draining = True
        await self._idle.wait()

    async def run(self) -> None:
        """Handle what comes, for ever."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            while True:
                await self._handle(await self._mailbox.get())

    async def _handle(self, event: _Value | _Again | _Doubt | _Decided) -> None:
        match event:
            case _Doubt(binding):
                self._doubted = False
                if binding is self._binding:
                    self._detector.doubt()
                    await self._look(binding)
            case _Value(binding, sample) if binding is self._binding:
                await self._see(binding, sample)
            case _Again(binding) if binding is self._binding:
                await self._look(binding)
            case _Decided(request_id, answer):
                await self._decide(request_id, answer)
            case _:
                pass  # of a session that is gone: the next one looks for itself

    # From the edge to the request.

    async def _see(self, binding: Binding, sample: Sample) -> None:
        if sample.overflow:
            self._metrics.overflow.labels(self.name, "server").inc()
            log.warning("the server dropped values of a trigger", trigger=self.name, remedy="raise queue_size")
        decision = self._detector.see(sample)
        if decision in {Decision.EDGE, Decision.DEBOUNCED, Decision.BAD}:
            self._metrics.triggers.labels(self.name, decision.value).inc()
        if decision is Decision.BAD:
            log.warning("a trigger's value is unusable", trigger=self.name, value=repr(sample.value)[:80])
        elif decision is Decision.DEBOUNCED and self._bounce is None:
            self._bounce = asyncio.get_running_loop().call_later(
                self.settings.debounce_ms / 1000, self._settled, binding
            )
        elif decision is Decision.LOOK and (sample.value or self._part):
            await self._look(binding)
        elif decision is Decision.EDGE:
            self._detector.know(sample.source)
            await self._arrived(binding, sample)

    async def _arrived(self, binding: Binding, sample: Sample) -> None:
        started = time.monotonic()
        tags = Tags()
        if names := self.settings.sample:
            try:
                nodes = [(binding.nodes[f"sample.{name}"], AttributeIds.Value) for name in names]
                tags = tags_of(dict(zip(names, await binding.session.read(nodes), strict=True)))
            except CallFailed as failed:
                tags.left_out = dict.fromkeys(names, failed.reason)
            self._metrics.sampling.labels(self.name).observe(time.monotonic() - started)
        self._ask(sample, tags)

    def _ask(self, sample: Sample, tags: Tags) -> None:
        if self._draining:
            log.info("a part arrived while stopping; the next start finds it", trigger=self.name)
            return
        if self._part:
            self._drop(self._part, "superseded")
        request, payload = request_of(self.settings, self._source, sample, tags, limit=self._topics.max_message_bytes)
        part = Part.arrived(
            request.id,
            seen=sample.ticks,
            deadline_s=self.settings.deadline_ms / 1000,
            margin_s=self.settings.margin_ms / 1000,
            part_id=tags.part_id,
            risen=sample.source,
        )
        self._part, self._unsure = part, False
        self._idle.clear()
        self._pending.stations[part.request_id] = self
        late = Answer("unknown", 0.0, "deadline", f"no verdict {self.settings.margin_ms:g} ms before the deadline")
        self._deadline = asyncio.get_running_loop().call_later(
            part.answer_by - time.monotonic(), self.decided, part.request_id, late
        )
        if self._tasks:
            self._publishing = self._tasks.create_task(
                self._publish(part, payload), name=f"publish {self.name} {part.request_id}"
            )
        for name, reason in tags.left_out.items():
            self._metrics.sample_failures.labels(self.name, reason).inc()
            log.warning("a tag is left out", trigger=self.name, request_id=part.request_id, tag=name, reason=reason)

    async def _publish(self, part: Part, payload: bytes) -> None:
        with telemetry.about_request(part.request_id, trigger=self.name):
            outcome = "published"
            try:
                async with asyncio.timeout(part.answer_by - time.monotonic()):
                    await self._bus.publish(self._topics.request_topic, payload)
            except TimeoutError:
                outcome = "unsent"
                log.warning("the broker did not take the request in time")
            except BusError as error:
                outcome = "refused"
                log.warning("the bus refused the request", error=error.what, remedy=error.remedy)
                self.decided(part.request_id, Answer("unknown", 0.0, "bus", error.what))
            self._metrics.requests.labels(self.name, outcome).inc()

    # From the answer to done.

    async def _decide(self, request_id: str, answer: Answer) -> None:
        part = self._part
        with telemetry.about_request(request_id, trigger=self.name):
            taken = part is not None and part.request_id == request_id and part.decide(answer)
            if answer.origin == "result":
                first = part.answer if part and part.request_id == request_id else None
                kind = (
                    "matched"
                    if taken
                    else self._pending.closed.kind(request_id)
                    if first is None
                    else ("duplicate" if first.origin == "result" else "late")
                )
                self._metrics.results.labels(kind).inc()
                if not taken:
                    log.info("a result came too late or twice; it is not written", kind=kind, verdict=answer.verdict)
            if not taken or part is None:
                return
            if self._deadline:
                self._deadline.cancel()
            if self._binding is None:
                log.warning("the PLC is away; the verdict is held", verdict=answer.verdict, reason=answer.reason)
            elif self._unsure or time.monotonic() > part.deadline:
                await self._look(self._binding)
            else:
                await self._write(self._binding, part, answer)

    async def _look(self, binding: Binding) -> None:
        """Read how the PLC sees the station, and do what follows from it."""
        names = self.settings.sample
        read = [
            binding.nodes["trigger"],
            binding.write_back["done"],
            *(binding.nodes[f"sample.{name}"] for name in names),
        ]
        try:
            trigger, done, *sampled = await binding.session.read([(node, AttributeIds.Value) for node in read])
        except CallFailed as failed:
            log.warning("cannot look at the station", trigger=self.name, error=failed.what)
            self._again_later(binding)
            return
        tags = tags_of(dict(zip(names, sampled, strict=True)))
        risen = instant(trigger.SourceTimestamp)
        look = Look(present=boolean(trigger), done=boolean(done), part_id=tags.part_id, risen=risen)
        part = self._part
        stands = standing(part, look, time.monotonic())
        self._metrics.looks.labels(self.name, stands.value).inc()
        self._unsure = self._unsure and stands is Standing.UNREADABLE
        if look.present:
            self._detector.know(risen)
        if stands is Standing.UNREADABLE:
            self._again_later(binding)
        elif stands is Standing.NEW:
            self._metrics.triggers.labels(self.name, "recovered").inc()
            log.info("a part waits that was not asked about", trigger=self.name, part_id=look.part_id)
            self._ask(sample_of(trigger, received=utc_now(), ticks=time.monotonic()), tags)
        elif part is None:
            return
        elif stands is Standing.GONE:
            self._drop(part, "gone")
        elif stands is Standing.ANSWERED and part.answer and part.attempts:
            self._written(part, part.answer)
        elif stands is Standing.ANSWERED:
            self._drop(part, "answered_elsewhere")
        elif part.answer:
            await self._write(binding, part, part.answer)

    async def _write(self, binding: Binding, part: Part, answer: Answer) -> None:
        part.attempts += 1
        with telemetry.about_request(part.request_id, trigger=self.name):
            if await write_back(self.name, binding, part, answer, self._metrics):
                self._written(part, answer)
            else:
                self._not_written(binding, part)

    def _not_written(self, binding: Binding, part: Part) -> None:
        if binding.session.lost.done() or binding is not self._binding:
            self._unsure = True  # held until the PLC is back
        elif time.monotonic() > part.deadline + self._grace_s:
            self._drop(part, "write_failed")
        else:
            self._again_later(binding)

    def _written(self, part: Part, answer: Answer) -> None:
        took = time.monotonic() - part.seen
        self._metrics.verdicts.labels(self.name, answer.verdict, answer.origin).inc()
        self._metrics.trigger_to_verdict.labels(self.name).observe(took)
        self._forget(part)
        log.info(
            "verdict",
            trigger=self.name,
            request_id=part.request_id,
            part_id=part.part_id,
            verdict=answer.verdict,
            origin=answer.origin,
            reason=answer.reason,
            ms=round(took * 1000, 1),
        )

    def _drop(self, part: Part, reason: str) -> None:
        self._metrics.lost_parts.labels(self.name, reason).inc()
        log.warning(
            "a part got no verdict from us",
            trigger=self.name,
            request_id=part.request_id,
            part_id=part.part_id,
            reason=reason,
            held=part.answer.verdict if part.answer else None,
        )
        if self._publishing:
            self._publishing.cancel()
        self._forget(part)

    def _forget(self, part: Part) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._pending.close(part)
        self._part = None
        self._idle.set()

    def _settled(self, binding: Binding) -> None:
        """Look once the debounce is over: the edge that was ignored may have been a part after all.

        A part that still waits and has no id could not be told from its own bounce, and is left alone.
        """
        self._bounce = None
        if self._part is None or self._part.part_id is not None:
            self._mailbox.put_nowait(_Again(binding))

    def _again_later(self, binding: Binding) -> None:
        """Look again after a while; one such timer at a time."""
        if self._retry is None:
            tried = (self._part.attempts if self._part else 0) or _PATIENT
            pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(tried, _PATIENT))
            self._retry = asyncio.get_running_loop().call_later(pause, self._again, binding)

    def _again(self, binding: Binding) -> None:
        self._retry = None
        self._mailbox.put_nowait(_Again(binding))
