"""The routes below /v2 as one raw ASGI application, so that a body goes straight to where Triton reads it.

Errors are `{"error": "...", "code": "..."}`, as clients of the protocol expect: 400 what is wrong, 403 what is not
allowed, 404 no such model, 408, 413, 415, 429 no room, 502 Triton failed, 503 not available now, 504 too late.
"""

import asyncio
import math
import time
from collections.abc import Mapping

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Receive, Scope, Send

from lineside.contract import MAX_DEADLINE_MS
from lineside.service import Service
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Admission, Body
from lineside_inference.dataplane.tensor_buffers import TensorBuffers
from lineside_inference.dataplane.workers import SMALL, Workers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.triton import Engine
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.direct import DirectInference
from lineside_inference.usecases.metrics import Metrics
from lineside_inference.v2 import answer, intake, raw, shared_memory
from lineside_inference.v2.answer import AnswerWriter, HttpAnswer, as_json, empty
from lineside_inference.v2.describe import NAME, VERSION, Describe, check_version, extensions
from lineside_inference.v2.error_mapping import as_problem
from lineside_inference.v2.intake import ClientGone, Intake
from lineside_inference.v2.methods import allow

log = structlog.get_logger("lineside.inference.v2")

_GONE = 499
MEMORY = 3
"""Bytes of memory for each byte of a v2 body: where it is gathered, in the message for Triton, and as that is sent."""
_SMALL = 64 * 1024
_MAX_MODELS = 128
_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SEEN = {
    name.encode(): name
    for name in ("accept-encoding", "content-length", "content-encoding", "x-deadline-ms", intake.HEADER_LENGTH)
}


class V2Middleware:
    """Takes what is below /v2 before the application's other layers see every chunk of it; passes the rest on."""

    def __init__(self, app: ASGIApp, v2: "V2") -> None:
        self._app = app
        self._v2 = v2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass on."""
        is_ours = scope["type"] == "http" and (scope["path"].startswith("/v2/") or scope["path"] == "/v2")
        await (self._v2 if is_ours else self._app)(scope, receive, send)


class V2:
    """The Open Inference Protocol for every model in Triton, also those without a card."""

    def __init__(
        self,
        service: Service,
        engine: Engine,
        direct: DirectInference,
        limits: LimitSettings,
        *,
        gate: Admission,
        workers: Workers,
        metrics: Metrics,
    ) -> None:
        self._service = service
        service.direct_below = b"/v2/"
        self._metrics = metrics
        self._gate = gate
        self._workers = workers
        self._places = gate.v2
        self._limits = limits
        self._link = engine.link
        self._direct = direct
        self._client_memory = self._direct.client_memory
        self._intake = Intake(limits, workers, self._client_memory)
        self._writer = AnswerWriter(limits.json_values)
        self._describe = Describe(engine.caller)
        self._counts = Counts(service.registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        arrived = time.monotonic()
        path = [part for part in scope["path"].removeprefix("/v2").split("/") if part]
        try:
            if path[-1:] == ["infer"] and path[0] == "models":
                await self._infer(scope, path, receive, send, arrived)
                return
            found = await self._route(scope["method"], path, receive)
        except ClientGone:
            found = empty(_GONE)
        except Exception as error:  # noqa: BLE001 - whatever it is, a v2 client gets its form of answer
            found = self._refuse(error)
        await _send(found, send)

    async def _route(self, method: str, path: list[str], receive: Receive) -> HttpAnswer:
        match path:
            case ["models", "stats"]:
                return await self._about(method, "", "", "stats")
            case ["models", name, "versions", version, *rest] if len(rest) < 2:  # noqa: PLR2004 - one more or none
                return await self._about(method, name, version, *rest)
            case ["models", name, *rest] if len(rest) < 2:  # noqa: PLR2004 - same
                return await self._about(method, name, "", *rest)
            case ["repository", "index"]:
                allow(method, "POST")
                with self._places.admit():
                    return as_json(await self._describe.index(ready=await intake.ready_only(receive)))
            case ["repository" | "trace" | "logging", *_] | ["models", _, "trace", *_]:
                detail = "Models are loaded and unloaded by /v1/models, and nothing else of Triton is set through v2"
                raise Problem(403, "model-control-refused", detail)
            case ["systemsharedmemory", *rest]:
                with self._places.admit():
                    return await shared_memory.answer(self._client_memory, method, rest, receive)
            case ["cudasharedmemory", *_]:
                detail = "CUDA shared memory is not taken through this service; use system shared memory, or binary"
                raise Problem(403, "shared-memory-refused", detail)
        return self._about_us(method, path)

    def _about_us(self, method: str, path: list[str]) -> HttpAnswer:
        allow(method)
        match path:
            case []:
                return as_json({"name": NAME, "version": VERSION, "extensions": extensions(self._client_memory)})
            case ["health", "live"]:
                return as_json({"live": not self._service.failed}, 500 if self._service.failed else 200)
            case ["health", "ready"]:
                is_ready = self._link.online.is_set() and not self._service.is_draining
                return as_json({"ready": is_ready}, 200 if is_ready else 503)
        raise Problem(404, "path-unknown", f"There is no /v2/{'/'.join(path)}"[:300])

    async def _about(self, method: str, name: str, version: str, what: str = "") -> HttpAnswer:
        allow(method)
        check_version(version)
        with self._places.admit():
            match what:
                case "":
                    return as_json(await self._describe.model(name, version))
                case "config":
                    return as_json(await self._describe.config(name, version))
                case "stats":
                    return as_json(await self._describe.stats(name, version))
                case "ready":
                    return await self._ready(name, version)
        raise Problem(404, "path-unknown", f"There is no {what[:60]!r} of a model; use config, stats, ready or infer")

    async def _ready(self, name: str, version: str) -> HttpAnswer:
        if await self._describe.ready(name, version):
            return as_json({"name": name, "ready": True})
        what = f"model {name!r:.150}" + (f", version {version}," if version else "")
        raise Problem(400, "model-not-ready", f"{what} is not ready: unknown here, not loaded, or the load failed")

    async def _infer(self, scope: Scope, path: list[str], receive: Receive, send: Send, arrived: float) -> None:
        name = path[1]
        try:
            with self._gate.bodies.one(MEMORY) as body:
                try:
                    found = await self._answer(scope, path, receive, arrived, body)
                except ClientGone:
                    log.warning("the client went away before its body was complete")
                    found = empty(_GONE)
                except Exception as error:  # noqa: BLE001 - whatever it is, a v2 client gets its form of answer
                    found = self._refuse(error)
                self._counts.answered(name, found.status, time.monotonic() - arrived)
                if sum(map(len, found.parts)) <= _SMALL:  # the transport takes it whole
                    await _send(found, send)
                else:
                    async with asyncio.timeout(self._limits.body_s):
                        await _send(found, send)
        except TimeoutError:
            log.warning("a v2 client did not take its answer in time", model=name)

    async def _answer(self, scope: Scope, path: list[str], receive: Receive, arrived: float, body: Body) -> HttpAnswer:
        name, version = _model_of(path)
        allow(scope["method"], "POST")
        headers = {known: value.decode("latin-1") for name, value in scope["headers"] if (known := _SEEN.get(name))}
        deadline = self._deadline(headers, arrived)
        if headers.get(intake.HEADER_LENGTH) == "0":
            buffers = await self._take_raw(name, version, receive, headers, body)
        else:
            buffers = await self._intake.take(scope, receive, headers, self._direct.budget, body)
        try:
            result = await self._direct.run(name, version, buffers, arrived, deadline)
            found = answer.detached(await self._writer.write(buffers.request, result))
        finally:
            buffers.release()
        accepted = headers.get("accept-encoding")
        encoding = answer.wanted_encoding(accepted) if accepted else None
        if encoding is None:
            return found
        size = sum(map(len, found.parts))
        if size <= SMALL:
            return answer.compressed(found, encoding)
        return await asyncio.get_running_loop().run_in_executor(
            self._workers.others, answer.compressed, found, encoding
        )

    async def _take_raw(
        self, name: str, version: str, receive: Receive, headers: Mapping[str, str], body: Body
    ) -> TensorBuffers:
        """Return a request whose whole body is the model's one input, which is looked for first."""
        with self._direct.using(name, version) as used:
            config, metadata = await self._describe.config(name, used), await self._describe.model(name, used)
        return await intake.take_raw(receive, headers, self._limits, body, self._workers, raw.Raw.of(metadata, config))

    def _deadline(self, headers: Mapping[str, str], arrived: float) -> Deadline:
        given = headers.get("x-deadline-ms")
        if given is None:
            return Deadline(arrived + self._limits.v2_deadline_ms / 1000)
        try:
            milliseconds = float(given)
        except ValueError:
            milliseconds = math.nan
        if not 0 < milliseconds <= MAX_DEADLINE_MS:
            detail = f"X-Deadline-Ms is {given!r:.60}; it must be a number above 0, at most {MAX_DEADLINE_MS:g}"
            raise Problem(400, "v2-request-invalid", detail)
        return Deadline(arrived + milliseconds / 1000)

    def _refuse(self, error: Exception) -> HttpAnswer:
        problem = as_problem(error)
        if problem.status == 500:  # noqa: PLR2004 - nobody foresaw it
            log.error("a v2 request failed in a way that nobody foresaw", exc_info=error)
        else:
            log.warning("refused", status=problem.status, code=problem.code, reason=problem.detail)
        self._metrics.refused(problem.code)
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        return as_json({"error": problem.detail[:2000], "code": problem.code}, problem.status, headers)


def _model_of(path: list[str]) -> tuple[str, str]:
    match path:
        case ["models", name, "infer"]:
            return name, ""
        case ["models", name, "versions", version, "infer"]:
            check_version(version)
            return name, version
    raise Problem(404, "path-unknown", f"There is no /v2/{'/'.join(path)}"[:300])


async def _send(found: HttpAnswer, send: Send) -> None:
    parts = found.parts
    if len(parts) > 1 and sum(map(len, parts)) <= _SMALL:
        parts = [b"".join(parts)]  # one write for all
    await send({"type": "http.response.start", "status": found.status, "headers": found.headers})
    last = len(parts) - 1
    for index, part in enumerate(parts):
        await send({"type": "http.response.body", "body": part, "more_body": index < last})
    if not parts:
        await send({"type": "http.response.body", "body": b""})


class Counts:
    """The counters; a model becomes a label once it has answered, and beyond the bound is `other`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: set[str] = set()
        self._requests_of: dict[tuple[str, int], Counter] = {}
        self._seconds_of: dict[str, Histogram] = {}
        self._requests = Counter(
            "lineside_inference_v2_requests_total",
            "Inference requests of the Open Inference Protocol, by model and HTTP status.",
            ["model", "status"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lineside_inference_v2_seconds",
            "Time from the first byte of a v2 inference request to its answer, of the good ones.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count one inference request."""
        if status < 400 and len(self._models) < _MAX_MODELS:  # noqa: PLR2004 - HTTP's first error
            self._models.add(model)
        label = model if model in self._models else "other"
        requests = self._requests_of.get((label, status))
        if requests is None:
            requests = self._requests_of[label, status] = self._requests.labels(label, str(status))
        requests.inc()
        if status < 400:  # noqa: PLR2004 - same
            took = self._seconds_of.get(label)
            if took is None:
                took = self._seconds_of[label] = self._seconds.labels(label)
            took.observe(seconds)
