"""One request's way: model > policy > deadline > source > decode and prepare > engine > interpret > Result.

Every stage is bounded by the deadline; whatever goes wrong becomes a Result that names the cause.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from lineside.contract import (
    CameraSource,
    FileSource,
    InlineSource,
    Policy,
    Request,
    Result,
    TensorsSource,
    Times,
    Timing,
    UrlSource,
    uuid7,
)
from lineside_inference.capture.evidence_inputs import EvidenceInputs
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.wait_estimator import WaitEstimator
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Arrival, Deadline, trigger_clock
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import (
    Crashed,
    DeadlineOutOfReach,
    Expired,
    FileFailed,
    RequestError,
    SourceMismatch,
    SourceUnsupported,
)
from lineside_inference.imaging.decode import accept, decode, decoding_bytes
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.image_headers import MEDIA_TYPES, read_header
from lineside_inference.imaging.prepare import prepare
from lineside_inference.interpret import Judgement, interpret, is_large
from lineside_inference.interpret.thresholds import check_enabled, thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.settings import InferenceSettings
from lineside_inference.sources import Frame
from lineside_inference.sources.cameras import Cameras
from lineside_inference.sources.files import Files
from lineside_inference.sources.urls import Urls
from lineside_inference.usecases import request_tensors

log = structlog.get_logger("lineside.inference")

CONTENT_TYPES = frozenset({*MEDIA_TYPES.values(), "image/x-portable-graymap", "application/octet-stream"})
_LONGEST_REASON = 600
_LONGEST_ENCODING_S = 0.05
_FEW_VALUES = 4096
"""Numbers that are written where they are: below a millisecond."""

T = TypeVar("T")


class StageTimer:
    """A request's stopwatch: milliseconds by stage, counted from its arrival; and what it leaves for its evidence.

    `line` is whether it is one of the line's own.
    """

    def __init__(self, arrival: Arrival, taken: EvidenceInputs | None = None, *, line: bool = True) -> None:
        self.line = line
        self._start = arrival.clock
        self._spent: dict[str, float] = {}
        self.image: bytes | None = None  # what is judged, once it was fetched
        self.frame_age_ms: float | None = None  # of a camera's frame, when its decoding began
        self.encoding: asyncio.Future[bytes] | None = None  # of a frame that came as pixels
        self.taken = taken or EvidenceInputs()
        self.deadline: Deadline | None = None  # once the request was understood

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Time a stage, also one that fails."""
        start = time.monotonic()
        try:
            yield
        finally:
            self._spent[stage] = round((time.monotonic() - start) * 1000, 3)

    def left_queue(self) -> None:
        """Say that the wait for a place is over."""
        self._spent["queued"] = round((time.monotonic() - self._start) * 1000, 3)

    def at_work(self) -> float:
        """Return the seconds since the wait for a place was over."""
        return time.monotonic() - self._start - self._spent.get("queued", 0.0) / 1000

    def timing(self) -> Timing:
        """Return what was measured, and the total until now."""
        return Timing(**self._spent, total=round((time.monotonic() - self._start) * 1000, 3))


class Pipeline:
    """What a request passes; holds the places for requests at work."""

    def __init__(
        self,
        settings: InferenceSettings,
        *,
        store: ModelStore,
        engine: Engine,
        cameras: Cameras,
        files: Files,
        urls: Urls,
        workers: Workers,
        gate: Admission,
    ) -> None:
        self._policy: Policy = settings.policy
        self._settings = settings
        self._store = store
        self._engine = engine
        self._cameras = cameras
        self._files = files
        self._urls = urls
        self._workers = workers
        self._gate = gate
        self._places = gate.places.room
        self._waits: set[asyncio.Timeout] = set()
        self.pace = WaitEstimator(settings.limits.concurrency)

    @property
    def policy(self) -> Policy:
        """The policy in force; a new one counts from the next step of every request."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        if not policy.enabled:
            for wait in self._waits:  # who waits for a place gets no judgement any more: say so now
                wait.reschedule(0)

    async def run(self, request: Request, arrival: Arrival, stages: StageTimer | None = None) -> Result:
        """Return the request's Result, whatever happens; `stages` has its times and image then."""
        stages = stages or StageTimer(arrival)
        model: Model | None = None
        try:
            model = stages.taken.model = self._store.find(request.model, request.model_version)
            check_enabled(self.policy)
            deadline = stages.deadline = self._deadline(request, arrival)
            with model.users.one():  # a version is unloaded when nobody runs on it any more
                judgement = await self._judge(request, model, arrival, deadline, stages)
        except RequestError as error:
            return refusal(request, error, arrival, timing=stages.timing(), model=model)
        except Exception:
            log.exception("a request failed in a way that nobody foresaw")
            crash = Crashed("the inference service failed", remedy="Its log has this request's id and the cause")
            return refusal(request, crash, arrival, timing=stages.timing(), model=model)
        return Result(
            id=uuid7(),
            request_id=request.id,
            status="ok",
            verdict=judgement.verdict,
            reason=judgement.reason[:_LONGEST_REASON],
            model=model.ref,
            findings=judgement.findings,
            findings_omitted=judgement.omitted,
            scores=judgement.scores,
            timing_ms=stages.timing(),
            frame_age_ms=stages.frame_age_ms,
            context=request.context,
            time=Times(received=arrival.wall),
            traceparent=request.traceparent,
        )

    def _deadline(self, request: Request, arrival: Arrival) -> Deadline:
        return Deadline.of(
            request, arrival, default_ms=self._settings.default_deadline_ms, margin_ms=self._settings.margin_ms
        )

    async def _judge(
        self, request: Request, model: Model, arrival: Arrival, deadline: Deadline, stages: StageTimer
    ) -> Judgement:
        _check_source(request, model)
        _check_time(deadline)
        await self._enter(model.card.name, deadline, line=stages.line)
        try:
            stages.left_queue()
            check_enabled(self.policy)
            _check_time(deadline)
            frame = await self._fetch(request, arrival, deadline, stages)
            stages.image = frame.data
            if request.source.kind != "tensors":
                stages.taken.frame = frame
            judgement = await self._work(request, model, frame, deadline, stages)
            if stages.encoding is not None:
                await asyncio.wait((stages.encoding,), timeout=min(_LONGEST_ENCODING_S, deadline.left()))
                stages.image = stages.encoding.result() if stages.encoding.done() else None
            return judgement
        finally:
            self._places.give(1, line=stages.line)
            self.pace.observe(model.card.name, stages.at_work())

    async def dry_run(self, request: Request, model: Model) -> Judgement:
        """Judge a request's own pixels or numbers by a version that need not be in force; raises RequestError.

        It is no part of the line: no place is taken, nothing is counted.
        """
        arrival = Arrival()
        frame = Frame(request.source.data if isinstance(request.source, InlineSource) else b"")
        return await self._work(request, model, frame, self._deadline(request, arrival), StageTimer(arrival))

    async def _work(
        self, request: Request, model: Model, frame: Frame, deadline: Deadline, stages: StageTimer
    ) -> Judgement:
        """Prepare, infer and interpret what was fetched."""
        slot = await self._engine.slot(model, deadline)
        if isinstance(request.source, CameraSource):
            stages.frame_age_ms = frame.age_ms()
        try:
            with stages.time("decode"):
                geometry = await self._fill(request, model, slot, frame, deadline, line=stages.line)
            stages.taken.prepared(self._engine.input(model, slot), geometry)
            _check_time(deadline)
            if frame.pixels is not None:  # to be shown; it runs beside the model
                stages.encoding = asyncio.get_running_loop().run_in_executor(self._threads(stages), frame.encoded)
            with stages.time("infer"):
                outputs = await self._engine.infer(model, slot, deadline)
        finally:
            slot.release()
        stages.taken.answered(outputs)
        with stages.time("interpret"):
            return await self._interpret(outputs, model.card, geometry, deadline, self._threads(stages))

    def _threads(self, stages: StageTimer) -> Executor:
        return self._workers.of(line=stages.line)

    async def _interpret(
        self,
        outputs: dict[str, NDArray[np.generic]],
        card: Card,
        geometry: Geometry | None,
        deadline: Deadline,
        threads: Executor,
    ) -> Judgement:
        """Interpret the outputs: small ones at once, large ones in a worker thread, bounded by the deadline."""
        in_force = thresholds(self.policy, card)
        if not is_large(outputs):
            return interpret(outputs, card, in_force, geometry)
        reading = asyncio.get_running_loop().run_in_executor(threads, interpret, outputs, card, in_force, geometry)
        await asyncio.wait((reading,), timeout=deadline.left())
        if not reading.done():
            reading.add_done_callback(_look_at)
            raise Expired("the deadline passed before the output was interpreted", remedy="Give a later deadline")
        return reading.result()

    async def _enter(self, model: str, deadline: Deadline, *, line: bool) -> None:
        if self._places.take(1, line=line):
            return
        ahead = self._places.waiting(line=True) + (0 if line else self._places.waiting(line=False))
        if (needed := self.pace.until_done(model, ahead)) > (left := deadline.left()):
            raise DeadlineOutOfReach(
                f"{ahead} requests wait already: this one would take {needed * 1000:.0f} ms "
                f"and has {left * 1000:.0f} ms left",
                remedy="Ask less often, or give a later deadline",
            )
        try:
            async with asyncio.timeout(deadline.left()) as wait:
                self._waits.add(wait)
                try:
                    await self._places.wait(1, line=line)
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            check_enabled(self.policy)
            raise _too_late() from None

    async def _fetch(self, request: Request, arrival: Arrival, deadline: Deadline, stages: StageTimer) -> Frame:
        """Return the picture; of tensors nothing, they are in the request."""
        source = request.source
        if isinstance(source, CameraSource):
            with stages.time("source"):
                return await self._cameras.grab(source.camera, trigger_clock(request, arrival), deadline)
        if isinstance(source, UrlSource):
            with stages.time("source"):
                return await self._urls.fetch(source.url, deadline)
        if isinstance(source, FileSource):
            with stages.time("source"):
                reading = asyncio.get_running_loop().run_in_executor(
                    self._threads(stages), self._files.read, source.path
                )
                await asyncio.wait((reading,), timeout=deadline.left())
                if not reading.done():
                    reading.add_done_callback(_look_at)
                    raise FileFailed(f"file {source.path!r:.200} could not be read in time")
                return Frame(reading.result())
        return Frame(source.data if isinstance(source, InlineSource) else b"")

    async def _fill(
        self, request: Request, model: Model, slot: Slot, frame: Frame, deadline: Deadline, *, line: bool
    ) -> Geometry | None:
        """Write the model's input into the slot: few numbers at once, many and an image in a worker thread.

        Return where the picture lies in the input; None for tensors.
        """
        out = self._engine.input(model, slot)
        source = request.source
        if isinstance(source, TensorsSource):
            if sum(len(tensor.values) for tensor in source.tensors) <= _FEW_VALUES:
                request_tensors.write(source, model.card.input, out)
            else:
                await self._in_thread(
                    lambda: request_tensors.write(source, model.card.input, out), slot, deadline, line=line
                )
            return None
        most = self._settings.limits.pixels
        preparation = model.preparation
        if preparation is None:  # _check_source has seen to it
            raise SourceMismatch(f"model {model.card.name!r} takes no image")

        camera = self._settings.cameras.get(source.camera) if isinstance(source, CameraSource) else None
        bits = None if camera is None else camera.significant_bits

        def work() -> Geometry:
            _check_time(deadline)
            if frame.pixels is not None:
                return prepare(accept(frame.pixels, preparation, max_pixels=most), preparation, out)
            pixels = decode(frame.data, preparation, max_pixels=most, significant_bits=bits)
            header = read_header(frame.data)
            return prepare(pixels, preparation, out, original=(header.width, header.height))

        try:
            needed = decoding_bytes(frame.data, max_pixels=most) if frame.pixels is None else frame.pixels.nbytes
            return await self._in_thread(work, slot, deadline, line=line, needed=needed)
        except RequestError as error:
            if not isinstance(source, CameraSource) or isinstance(error, Expired):
                raise
            # What the camera sends is not the fault of who asked.
            error.status = "failed"
            error.what = f"camera {source.camera!r}: {error.what}"
            raise

    async def _in_thread(
        self, work: Callable[[], T], slot: Slot, deadline: Deadline, *, line: bool, needed: int = 0
    ) -> T:
        """Return what `work` makes, which writes into the slot and takes `needed` bytes of memory meanwhile."""
        pictures = self._gate.pictures
        try:
            async with asyncio.timeout(deadline.left()):
                await pictures.wait(needed, line=line)
        except TimeoutError:
            raise _too_late() from None
        filling = asyncio.get_running_loop().run_in_executor(self._workers.of(line=line), _without_frames, work)
        filling.add_done_callback(lambda _: pictures.give(needed, line=line))
        await asyncio.wait((filling,), timeout=deadline.left())
        if not filling.done():
            slot.keep_for(filling)  # the thread cannot be stopped, and writes there
            raise _too_late()
        try:
            return filling.result()
        finally:
            del filling  # else what it raised would refer to itself by way of this frame, and wait for the collector


def refusal(
    request: Request, error: RequestError, arrival: Arrival, *, timing: Timing | None = None, model: Model | None = None
) -> Result:
    """Return the Result of a request that was not judged."""
    reason = f"{error.what}. {error.remedy}" if error.remedy else error.what
    return Result(
        id=uuid7(),
        request_id=request.id,
        status=error.status,
        verdict="unknown",
        reason=reason[:_LONGEST_REASON],
        code=error.code,
        model=model.ref if model else None,
        timing_ms=timing or StageTimer(arrival).timing(),
        context=request.context,
        time=Times(received=arrival.wall),
        traceparent=request.traceparent,
    )


def _check_source(request: Request, model: Model) -> None:
    source, name, kind = request.source, model.card.name, model.card.input.kind
    if (source.kind == "tensors") != (kind == "tensor"):
        remedy = "Use source camera, file, url or inline" if kind == "image" else "Use source tensors"
        raise SourceMismatch(f"model {name!r} takes {kind}s, the source is {source.kind}", remedy=remedy)
    if isinstance(source, InlineSource) and source.content_type.partition(";")[0].strip() not in CONTENT_TYPES:
        raise SourceUnsupported(
            f"content type {source.content_type!r} is not supported", remedy=f"Use {', '.join(sorted(CONTENT_TYPES))}"
        )


def _without_frames(work: Callable[[], T]) -> T:
    """Return what `work` does; what it raises holds no frame, in which the picture would live on."""
    try:
        return work()
    except RequestError as error:
        error.__context__ = None
        raise error.with_traceback(None) from None


def _check_time(deadline: Deadline) -> None:
    if deadline.has_passed:
        raise _too_late()


def _too_late() -> Expired:
    return Expired("the deadline passed before the model ran", remedy="Give a later deadline, or see timing_ms")


def _look_at(ended: "asyncio.Future[Any]") -> None:
    """Take the outcome of what nobody waits for any more."""
    if not ended.cancelled():
        ended.exception()
