"""Judging by a model's card: model > policy > deadline > place > source > decode and prepare > engine > interpret.

Every stage is bounded by the deadline; whatever goes wrong becomes a Result that names the cause.
"""

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from lineside.contract import CameraSource, InlineSource, Policy, Request, Result, Times, Timing, uuid7
from lineside_inference.dataplane.admission import AdmissionGate
from lineside_inference.dataplane.judged import EvidenceInputs, Judged
from lineside_inference.dataplane.workers import Workers
from lineside_inference.deadline import Arrival, Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import (
    Crashed,
    Disabled,
    EngineFailed,
    EngineUnavailable,
    Expired,
    RequestError,
    SourceMismatch,
    SourceUnsupported,
)
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.imaging.image_headers import MEDIA_TYPES
from lineside_inference.imaging.pixel_formats.layout import MEDIA_TYPE as RAW_MEDIA_TYPE
from lineside_inference.interpret import Judgement, interpret, is_large
from lineside_inference.interpret.thresholds import thresholds
from lineside_inference.models.store import Model, ModelStore
from lineside_inference.settings import InferenceSettings
from lineside_inference.sources import Frame
from lineside_inference.usecases.fetching import Fetcher, brought, ignore_result
from lineside_inference.usecases.input_writer import InputWriter, check_time

log = structlog.get_logger("lineside.inference")

CONTENT_TYPES = frozenset(
    {*MEDIA_TYPES.values(), "image/x-portable-graymap", "application/octet-stream", RAW_MEDIA_TYPE}
)
_MAX_REASON = 600
_MAX_ENCODING_S = 0.05
_NOT_FETCHED = frozenset({"inline", "tensors"})


class Judging:
    """Judges requests by the cards of the store's models; `places` are those for requests at work."""

    def __init__(
        self,
        settings: InferenceSettings,
        *,
        store: ModelStore,
        engine: Engine,
        fetcher: Fetcher,
        writer: InputWriter,
        workers: Workers,
        places: AdmissionGate,
    ) -> None:
        self._policy: Policy = settings.policy
        self._settings = settings
        self._store = store
        self._engine = engine
        self._fetcher = fetcher
        self._writer = writer
        self._workers = workers
        self._places = places

    @property
    def policy(self) -> Policy:
        """The policy in force; a new one counts from the next step of every request."""
        return self._policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._policy = policy
        if not policy.enabled:
            self._places.end_waits(_disabled)  # nobody who waits is judged any more: they are told now

    async def judge(
        self, request: Request, arrival: Arrival, *, line: bool = True, keep: Collection[str] = ()
    ) -> Judged:
        """Return what came of judging a request, whatever happens.

        `line` is whether it is one of the line's own; `keep` which evidence inputs are wanted: `input`, `outputs`.
        """
        run = _Run(request, arrival, keep, line=line)
        try:
            model = run.model = self._store.find(request.model, request.model_version)
            self._check_enabled()
            deadline = run.deadline = self._deadline(request, arrival)
            with model.in_flight.one():  # a version is unloaded when nobody runs on it any more
                judgement = await self._judge(run, model, deadline)
        except RequestError as error:
            return run.refused(error)
        except Exception:
            log.exception("a request failed in a way that nobody foresaw")
            return run.refused(
                Crashed("the inference service failed", remedy="Its log has this request's id and the cause")
            )
        return run.judged(run.model, judgement)

    async def dry_run(self, request: Request, model: Model) -> Judgement:
        """Judge a request's own pixels or numbers by a version that need not be in force; raises RequestError.

        It is no part of the line: no place is taken, nothing is counted.
        """
        arrival = Arrival()
        return await self._work(_Run(request, arrival), brought(request), model, self._deadline(request, arrival))

    async def outputs(self, request: Request, model: Model) -> dict[str, NDArray[np.generic]]:
        """Return what a model answers to a request's own pixels or numbers; as of `dry_run`."""
        arrival = Arrival()
        run = _Run(request, arrival)
        await self._work(run, brought(request), model, self._deadline(request, arrival))
        return run.outputs

    async def _judge(self, run: "_Run", model: Model, deadline: Deadline) -> Judgement:
        request = run.request
        _check_source(request, model)
        check_time(deadline)
        async with self._places.place(deadline, line=run.line, model=model.card.name):
            run.timer.left_queue()
            self._check_enabled()
            check_time(deadline)
            if request.source.kind in _NOT_FETCHED:
                frame = brought(request)
            else:
                with run.timer.time("source"):
                    frame = await self._fetcher.fetch(request, run.arrival, deadline, line=run.line)
            run.fetched(frame)
            judgement = await self._work(run, frame, model, deadline)
            await run.wait_for_encoding(deadline)
            return judgement

    async def _work(self, run: "_Run", frame: Frame, model: Model, deadline: Deadline) -> Judgement:
        """Prepare, infer and interpret what was fetched."""
        slot = await self._engine.slot(model, deadline)
        threads = self._workers.of(line=run.line)
        if isinstance(run.request.source, CameraSource):
            run.frame_age_ms = frame.age_ms()
        try:
            out = self._engine.input(model, slot)
            with run.timer.time("decode"):
                geometry, frame = await self._writer.write(
                    run.request, frame, model, slot, out, deadline, line=run.line
                )
            run.fetched(frame)
            run.prepared(out, geometry)
            check_time(deadline)
            if frame.pixels is not None:  # to be shown; it runs beside the model
                run.encoding = asyncio.get_running_loop().run_in_executor(threads, frame.encoded)
            with run.timer.time("infer"):
                outputs = await self._infer(run, model, slot, deadline)
        finally:
            slot.release()
        run.outputs = outputs
        with run.timer.time("interpret"):
            return await self._interpret(run, outputs, model, geometry, deadline)

    async def _infer(self, run: "_Run", model: Model, slot: Slot, deadline: Deadline) -> dict[str, NDArray[np.generic]]:
        """Run the model; of the line, what an engine built here cannot judge is judged by the ONNX that it is of."""
        try:
            return await self._engine.infer(model, slot, deadline)
        except (EngineFailed, EngineUnavailable) as error:
            if model.fallback is None or run.model is not model:
                raise
            log.warning("a TensorRT engine failed; ONNX judges", model=model.card.name, reason=str(error))
            self._store.fall_back(model, str(error))
            run.model = model.fallback
            return await self._engine.infer(run.model, slot, deadline)

    async def _interpret(
        self,
        run: "_Run",
        outputs: dict[str, NDArray[np.generic]],
        model: Model,
        geometry: Geometry | None,
        deadline: Deadline,
    ) -> Judgement:
        """Interpret the outputs: small ones at once, large ones in a worker thread, bounded by the deadline."""
        card, in_force = model.card, thresholds(self.policy, model.card)
        if not is_large(outputs):
            return interpret(outputs, card, in_force, geometry)
        reading = asyncio.get_running_loop().run_in_executor(
            self._workers.of(line=run.line), interpret, outputs, card, in_force, geometry
        )
        await asyncio.wait((reading,), timeout=deadline.left())
        if not reading.done():
            reading.add_done_callback(ignore_result)
            raise Expired("the deadline passed before the output was interpreted", remedy="Give a later deadline")
        return reading.result()

    def _deadline(self, request: Request, arrival: Arrival) -> Deadline:
        return Deadline.of(
            request, arrival, default_ms=self._settings.default_deadline_ms, margin_ms=self._settings.margin_ms
        )

    def _check_enabled(self) -> None:
        if not self._policy.enabled:
            raise _disabled()


class _Timer:
    """Milliseconds by stage, counted from a request's arrival."""

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
            self._spent[stage] = _ms_since(start)

    def left_queue(self) -> None:
        """Say that the wait for a place is over."""
        self._spent["queued"] = _ms_since(self._start)

    def timing(self) -> Timing:
        """Return what was measured, and the total until now."""
        return Timing(**self._spent, total=_ms_since(self._start))


class _Run:
    """One request while it is judged: what is known of it so far. However it ends, it becomes one Judged."""

    def __init__(self, request: Request, arrival: Arrival, keep: Collection[str] = (), *, line: bool = True) -> None:
        self.request = request
        self.arrival = arrival
        self.line = line
        self.timer = _Timer(arrival)
        self.model: Model | None = None
        self.deadline: Deadline | None = None
        self.frame_age_ms: float | None = None
        self.encoding: asyncio.Future[bytes] | None = None  # of a frame that came as pixels
        self.outputs: dict[str, NDArray[np.generic]] = {}
        self._keep = keep
        self._frame: Frame | None = None
        self._input: NDArray[Any] | None = None
        self._geometry: Geometry | None = None
        self._image: bytes | None = None

    def fetched(self, frame: Frame) -> None:
        """Take what the source gave, and what became of it: raw pixels are no file that can be shown."""
        self._image = frame.data if frame.layout is None else b""
        if self.request.source.kind != "tensors":
            self._frame = frame

    def prepared(self, tensor: NDArray[Any], geometry: Geometry | None) -> None:
        """Take a copy of the model's input, where it is wanted: its memory is used again."""
        if "input" in self._keep:
            self._input, self._geometry = tensor.copy(), geometry

    async def wait_for_encoding(self, deadline: Deadline) -> None:
        """Take the file that is made of a frame's pixels; none where it is not ready in a short time."""
        if self.encoding is not None:
            await asyncio.wait((self.encoding,), timeout=min(_MAX_ENCODING_S, deadline.left()))
            self._image = self.encoding.result() if self.encoding.done() else None

    def judged(self, model: Model, judgement: Judgement) -> Judged:
        """Return what came of it where the model judged."""
        return self._ended(
            Result(
                id=uuid7(),
                request_id=self.request.id,
                status="ok",
                verdict=judgement.verdict,
                reason=judgement.reason[:_MAX_REASON],
                model=model.ref,
                findings=judgement.findings,
                findings_omitted=judgement.omitted,
                scores=judgement.scores,
                timing_ms=self.timer.timing(),
                frame_age_ms=self.frame_age_ms,
                context=self.request.context,
                time=Times(received=self.arrival.wall),
                traceparent=self.request.traceparent,
            )
        )

    def refused(self, error: RequestError) -> Judged:
        """Return what came of it where it was not judged."""
        reason = f"{error.what}. {error.remedy}" if error.remedy else error.what
        return self._ended(
            Result(
                id=uuid7(),
                request_id=self.request.id,
                status=error.status,
                verdict="unknown",
                reason=reason[:_MAX_REASON],
                code=error.code,
                model=self.model.ref if self.model else None,
                timing_ms=self.timer.timing(),
                context=self.request.context,
                time=Times(received=self.arrival.wall),
                traceparent=self.request.traceparent,
            )
        )

    def _ended(self, result: Result) -> Judged:
        evidence = EvidenceInputs(
            keep=self._keep,
            model=self.model,
            frame=self._frame,
            input=self._input,
            geometry=self._geometry,
            outputs=self.outputs if "outputs" in self._keep else {},
        )
        return Judged(self.request, result, self.arrival, self.deadline, self._image, evidence)


def refused(request: Request, error: RequestError, arrival: Arrival) -> Judged:
    """Return what came of a request that was refused before anything was done for it."""
    return _Run(request, arrival).refused(error)


def _disabled() -> Disabled:
    return Disabled("judging is switched off by the policy", remedy="Set policy.enabled to true to switch it on")


def _check_source(request: Request, model: Model) -> None:
    source, name, kind = request.source, model.card.name, model.card.input.kind
    if (source.kind == "tensors") != (kind == "tensor"):
        remedy = "Use source camera, file, url or inline" if kind == "image" else "Use source tensors"
        raise SourceMismatch(f"model {name!r} takes {kind}s, the source is {source.kind}", remedy=remedy)
    if isinstance(source, InlineSource) and source.content_type.partition(";")[0].strip() not in CONTENT_TYPES:
        raise SourceUnsupported(
            f"content type {source.content_type!r} is not supported", remedy=f"Use {', '.join(sorted(CONTENT_TYPES))}"
        )


def _ms_since(start: float) -> float:
    return round((time.monotonic() - start) * 1000, 3)
