"""One request's way: model > policy > deadline > source > decode and prepare > engine > interpret > Result.

Every stage is bounded by the deadline; whatever goes wrong becomes a Result that names the cause.
"""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

import structlog

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
    uuid7,
)
from lineside_inference import tensors
from lineside_inference.deadline import Arrival, Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import (
    Crashed,
    Expired,
    FileFailed,
    RequestError,
    SourceMismatch,
    SourceUnsupported,
)
from lineside_inference.images import decode
from lineside_inference.interpret import Judgement, interpret
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.policy import check_enabled, thresholds
from lineside_inference.prepare import prepare
from lineside_inference.settings import InferenceSettings
from lineside_inference.sources.camera import Cameras
from lineside_inference.sources.files import Files

log = structlog.get_logger("lineside.inference")

CONTENT_TYPES = frozenset({"image/jpeg", "image/png", "image/bmp", "application/octet-stream"})
_LONGEST_REASON = 600


class Stages:
    """A request's stopwatch: milliseconds by stage, counted from its arrival."""

    def __init__(self, arrival: Arrival) -> None:
        self._start = arrival.clock
        self._spent: dict[str, float] = {}

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
        workers: Executor,
    ) -> None:
        self.policy: Policy = settings.policy
        self._settings = settings
        self._store = store
        self._engine = engine
        self._cameras = cameras
        self._files = files
        self._workers = workers
        self._places = asyncio.Semaphore(settings.limits.concurrency)

    async def run(self, request: Request, arrival: Arrival) -> Result:
        """Return the request's Result, whatever happens."""
        stages = Stages(arrival)
        model: Model | None = None
        try:
            model = self._store.find(request.model, request.model_version)
            check_enabled(self.policy)
            deadline = self._deadline(request, arrival)
            judgement = await self._judge(request, model, deadline, stages)
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
            scores=judgement.scores,
            timing_ms=stages.timing(),
            context=request.context,
            time=Times(received=arrival.wall),
            traceparent=request.traceparent,
        )

    def _deadline(self, request: Request, arrival: Arrival) -> Deadline:
        return Deadline.of(
            request, arrival, default_ms=self._settings.default_deadline_ms, margin_ms=self._settings.margin_ms
        )

    async def _judge(self, request: Request, model: Model, deadline: Deadline, stages: Stages) -> Judgement:
        _check_source(request, model)
        _check_time(deadline)
        await self._enter(deadline)
        try:
            stages.left_queue()
            _check_time(deadline)
            data = await self._fetch(request, deadline, stages)
            slot = await self._engine.slot(deadline)
            try:
                with stages.time("decode"):
                    await self._fill(request, model, slot, data, deadline)
                _check_time(deadline)
                with stages.time("infer"):
                    output = await self._engine.infer(model, slot, deadline)
            finally:
                slot.release()
            with stages.time("interpret"):
                return interpret(output, model.card, thresholds(self.policy, model.card))
        finally:
            self._places.release()

    async def _enter(self, deadline: Deadline) -> None:
        if not self._places.locked():
            await self._places.acquire()
            return
        try:
            async with asyncio.timeout(deadline.left()):
                await self._places.acquire()
        except TimeoutError:
            raise _too_late() from None

    async def _fetch(self, request: Request, deadline: Deadline, stages: Stages) -> bytes:
        """Return the image's bytes; of tensors nothing, they are in the request."""
        source = request.source
        if isinstance(source, CameraSource):
            with stages.time("source"):
                return await self._cameras.grab(source.camera, deadline)
        if isinstance(source, FileSource):
            with stages.time("source"):
                reading = asyncio.get_running_loop().run_in_executor(self._workers, self._files.read, source.path)
                await asyncio.wait((reading,), timeout=deadline.left())
                if not reading.done():
                    reading.add_done_callback(_look_at)
                    raise FileFailed(f"file {source.path!r:.200} could not be read in time")
                return reading.result()
        return source.data if isinstance(source, InlineSource) else b""

    async def _fill(self, request: Request, model: Model, slot: Slot, data: bytes, deadline: Deadline) -> None:
        """Write the model's input into the slot: tensors at once, an image in a worker thread."""
        out = self._engine.input(model, slot)
        source = request.source
        if isinstance(source, TensorsSource):
            tensors.write(source, model.card.input, out)
            return
        preparation = model.preparation
        if preparation is None:  # _check_source has seen to it
            raise SourceMismatch(f"model {model.card.name!r} takes no image")

        def work() -> None:
            _check_time(deadline)
            prepare(decode(data, preparation, most_pixels=self._settings.limits.pixels), preparation, out)

        filling = asyncio.get_running_loop().run_in_executor(self._workers, work)
        await asyncio.wait((filling,), timeout=deadline.left())
        if not filling.done():
            slot.keep_for(filling)  # the thread cannot be stopped, and writes there
            raise _too_late()
        try:
            filling.result()
        except RequestError as error:
            if not isinstance(source, CameraSource) or isinstance(error, Expired):
                raise
            # What the camera sends is not the fault of who asked.
            error.status = "failed"
            error.what = f"camera {source.camera!r}: {error.what}"
            raise


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
        timing_ms=timing or Stages(arrival).timing(),
        context=request.context,
        time=Times(received=arrival.wall),
        traceparent=request.traceparent,
    )


def _check_source(request: Request, model: Model) -> None:
    source, name, kind = request.source, model.card.name, model.card.input.kind
    if source.kind == "url":
        raise SourceUnsupported("source url is not supported", remedy="Use camera, file, inline or tensors")
    if (source.kind == "tensors") != (kind == "tensor"):
        remedy = "Use source camera, file or inline" if kind == "image" else "Use source tensors"
        raise SourceMismatch(f"model {name!r} takes {kind}s, the source is {source.kind}", remedy=remedy)
    if isinstance(source, InlineSource) and source.content_type.partition(";")[0].strip() not in CONTENT_TYPES:
        raise SourceUnsupported(
            f"content type {source.content_type!r} is not supported", remedy=f"Use {', '.join(sorted(CONTENT_TYPES))}"
        )


def _check_time(deadline: Deadline) -> None:
    if deadline.has_passed:
        raise _too_late()


def _too_late() -> Expired:
    return Expired("the deadline passed before the model ran", remedy="Give a later deadline, or see timing_ms")


def _look_at(ended: "asyncio.Future[bytes]") -> None:
    """Take the outcome of what nobody waits for any more."""
    if not ended.cancelled():
        ended.exception()
