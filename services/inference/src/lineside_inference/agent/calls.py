"""The seven calls, each from the bytes of its request to those of its answer, and what is counted of them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import CollectorRegistry, Counter, Histogram

from lineside.contract import MAX_DEADLINE_MS
from lineside.edge_manager.protocol import SERVICE
from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside.errors import LinesideError
from lineside_inference.agent.captures import Captures
from lineside_inference.agent.loading import Loader
from lineside_inference.agent.models import Models
from lineside_inference.agent.names import key_of
from lineside_inference.agent.prediction import Prediction
from lineside_inference.agent.status_codes import code_for, words_of
from lineside_inference.dataplane.admission import Admission, Body
from lineside_inference.deadline import Deadline
from lineside_inference.errors import MessageInvalid, Stopping
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference.agent")

_MEMORY = 3
"""Bytes of memory for each byte of a request: as it came, in the message, and where Triton reads it."""
_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


@dataclass(frozen=True, slots=True)
class Call:
    """What a call has beside its request: when it came, until when it is wanted, and its part of the memory."""

    arrived: float
    deadline: Deadline
    is_clients: bool
    body: Body


Answer = Callable[[Any, Call], Awaitable[Any]]


class Calls:
    """Answers the calls; `is_draining` is whether the service is stopping."""

    def __init__(
        self,
        models: Models,
        loader: Loader,
        prediction: Prediction,
        captures: Captures,
        *,
        gate: Admission,
        limits: LimitSettings,
        registry: CollectorRegistry,
        is_draining: Callable[[], bool],
    ) -> None:
        self._models = models
        self._loader = loader
        self._prediction = prediction
        self._captures = captures
        self._gate = gate
        self._default_s = limits.v2_deadline_ms / 1000
        self._is_draining = is_draining
        self._counts = Counts(registry)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what gRPC asks for each call."""
        answers: dict[str, tuple[Any, Answer]] = {
            "Predict": (pb.PredictRequest, self._predict),
            "LoadModel": (pb.LoadModelRequest, self._load),
            "UnLoadModel": (pb.UnLoadModelRequest, self._unload),
            "ListModels": (pb.ListModelsRequest, self._list),
            "DescribeModel": (pb.DescribeModelRequest, self._describe),
            "CaptureData": (pb.CaptureDataRequest, lambda request, _call: self._captures.capture(request)),
            "GetCaptureDataStatus": (
                pb.GetCaptureDataStatusRequest,
                lambda request, _call: self._captures.status(request),
            ),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: self._method(name, kind, answer) for name, (kind, answer) in answers.items()}
        )

    def _method(self, name: str, kind: Any, answer: Answer) -> grpc.RpcMethodHandler:
        async def method(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            arrived = time.monotonic()
            found, code, words = b"", grpc.StatusCode.OK, ""
            try:
                found = await self._answer(kind, answer, body, arrived, context.time_remaining())
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a code and words
                code, words = code_for(type(error)), words_of(error)
                _tell(name, code, words, error)
            self._counts.answered(name, code, time.monotonic() - arrived)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, words)
            return found

        # Without serializers the bytes come here as they are: what is no message is answered by us, too.
        return grpc.unary_unary_rpc_method_handler(method)

    async def _answer(self, kind: Any, answer: Answer, body: bytes, arrived: float, left_s: float | None) -> bytes:
        if self._is_draining():
            raise Stopping("the inference service is stopping", remedy="Ask again in a moment")
        with self._gate.bodies.one(_MEMORY) as counted:
            counted.grow(len(body))
            seconds = self._default_s if left_s is None else min(left_s, MAX_DEADLINE_MS / 1000)
            call = Call(arrived, Deadline(arrived + seconds), left_s is not None, counted)
            found = await answer(_read(kind, body), call)
            return bytes(found.SerializeToString())

    async def _predict(self, request: Any, call: Call) -> pb.PredictResponse:
        return await self._prediction.predict(
            request, call.arrived, call.deadline, call.body, is_clients=call.is_clients
        )

    async def _load(self, request: Any, _call: Call) -> pb.LoadModelResponse:
        name = key_of(request)
        with self._gate.v2.admit():
            await self._loader.load(name, request.url)
            return pb.LoadModelResponse(model=await self._models.describe(name))

    async def _unload(self, request: Any, _call: Call) -> pb.UnLoadModelResponse:
        with self._gate.v2.admit():
            await self._loader.unload(key_of(request))
            return pb.UnLoadModelResponse()

    async def _list(self, _request: Any, _call: Call) -> pb.ListModelsResponse:
        with self._gate.v2.admit():
            return pb.ListModelsResponse(models=await self._models.list())

    async def _describe(self, request: Any, _call: Call) -> pb.DescribeModelResponse:
        with self._gate.v2.admit():
            return pb.DescribeModelResponse(model=await self._models.describe(key_of(request)))


def _read(kind: Any, body: bytes) -> Any:
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise MessageInvalid(f"the request is not a {kind.DESCRIPTOR.name}: {error}") from None


def _tell(call: str, code: grpc.StatusCode, words: str, error: Exception) -> None:
    if isinstance(error, LinesideError):
        log.warning("refused", call=call, code=code.name, reason=words)
    else:
        log.error("a call failed in a way that nobody foresaw", call=call, exc_info=error)


class Counts:
    """The counters of the calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = Counter(
            "lineside_inference_agent_calls_total",
            "Calls of Edge Manager's clients, by call and gRPC status code.",
            ["call", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lineside_inference_agent_seconds",
            "Time from a call's request to its answer, of the good ones.",
            ["call"],
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, call: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one call."""
        self._calls.labels(call, code.name).inc()
        if code is grpc.StatusCode.OK:
            self._seconds.labels(call).observe(seconds)
