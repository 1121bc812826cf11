"""The seven calls, each from its request's message to its answer's."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from prometheus_client import CollectorRegistry

from lineside.edge_manager.protocol import SERVICE
from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.captures import Captures
from lineside_inference.agent.loading import Loader
from lineside_inference.agent.models import Models
from lineside_inference.agent.names import key_of
from lineside_inference.agent.prediction import Prediction
from lineside_inference.dataplane.admission import Admission
from lineside_inference.rpc.answering import Answering, Call, read_message
from lineside_inference.settings import LimitSettings

FACE = ("agent", "Edge Manager's clients")
"""The face's word in metrics and log, and who calls."""

Handle = Callable[[Any, Call], Awaitable[Any]]


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
        self._answering = Answering(*FACE, gate=gate, limits=limits, registry=registry, is_draining=is_draining)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what gRPC asks for each call."""
        answers: dict[str, tuple[Any, Handle]] = {
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

    def _method(self, name: str, kind: Any, handle: Handle) -> grpc.RpcMethodHandler:
        async def answer(body: bytes, call: Call) -> bytes:
            found = await handle(read_message(kind, body), call)
            return bytes(found.SerializeToString())

        return self._answering.unary(name, answer)

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
