"""The calls of `inference.GRPCInferenceService`, each from the bytes of its request to those of its answer."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from lineside.service import Service
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.triton import Engine
from lineside_inference.grpc_v2.answer import AnswerWriter
from lineside_inference.grpc_v2.error_mapping import as_status
from lineside_inference.grpc_v2.intake import Intake, id_of
from lineside_inference.rpc.answering import Answering, Call, Status, read_message
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.direct import DirectInference
from lineside_inference.v2.describe import NAME, VERSION, check_version, extensions
from lineside_inference.v2.request_json import wrong

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_MAX_SIZE = 2**63

Handle = Callable[[Any], Awaitable[Any]]


class Calls:
    """Answers the calls."""

    def __init__(
        self,
        service: Service,
        engine: Engine,
        direct: DirectInference,
        limits: LimitSettings,
        *,
        gate: Admission,
        workers: Workers,
    ) -> None:
        self._service = service
        self._link = engine.link
        self._caller = engine.caller
        self._direct = direct
        self._memory = direct.client_memory
        self._places = gate.v2
        self._intake = Intake(limits, workers, self._memory)
        self._writer = AnswerWriter()
        self.answering = Answering(
            "grpc_v2",
            "the Open Inference Protocol over gRPC",
            gate=gate,
            limits=limits,
            registry=service.registry,
            is_draining=lambda: service.is_draining,
            as_status=as_status,
        )

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what gRPC asks for each call."""
        about_us: dict[str, Handle] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._server,
        }
        bounded: dict[str, Handle] = {
            "ModelReady": self._about("ModelReady"),
            "ModelMetadata": self._about("ModelMetadata"),
            "ModelConfig": self._about("ModelConfig"),
            "ModelStatistics": self._about("ModelStatistics"),
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._no_control,
            "RepositoryModelUnload": self._no_control,
            "TraceSetting": self._no_control,
            "LogSettings": self._no_control,
            "SystemSharedMemoryStatus": self._regions,
            "SystemSharedMemoryRegister": self._register,
            "SystemSharedMemoryUnregister": self._unregister,
            "CudaSharedMemoryStatus": self._no_cuda_regions,
            "CudaSharedMemoryRegister": self._no_cuda,
            "CudaSharedMemoryUnregister": self._no_cuda_regions,
        }
        methods = {name: self._method(name, handle, always=True) for name, handle in about_us.items()}
        methods |= {name: self._method(name, self._within_places(handle)) for name, handle in bounded.items()}
        methods["ModelInfer"] = self.answering.unary("ModelInfer", self._infer)
        methods["ModelStreamInfer"] = self.answering.stream("ModelStreamInfer", self._infer_in_stream, _failed)
        return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)

    def _method(self, name: str, handle: Handle, *, always: bool = False) -> grpc.RpcMethodHandler:
        kind = getattr(pb, SERVICE.methods_by_name[name].input_type.name)

        async def answer(body: bytes, _call: Call) -> bytes:
            return bytes((await handle(read_message(kind, body))).SerializeToString())

        return self.answering.unary(name, answer, always=always)

    def _within_places(self, handle: Handle) -> Handle:
        async def admitted(request: Any) -> Any:
            with self._places.admit():
                return await handle(request)

        return admitted

    async def _infer(self, body: bytes, call: Call, *, stream: bool = False) -> bytes:
        asked, buffers = await self._intake.take(body, call, self._direct.budget)
        try:
            result = await self._direct.run(asked.name, asked.version, buffers, call.arrived, call.deadline)
            return self._writer.write(asked.request, result, stream=stream)
        finally:
            buffers.release()

    async def _infer_in_stream(self, body: bytes, call: Call) -> bytes:
        return await self._infer(body, call, stream=True)

    async def _live(self, _request: Any) -> Any:
        return pb.ServerLiveResponse(live=not self._service.failed)

    async def _ready(self, _request: Any) -> Any:
        return pb.ServerReadyResponse(ready=self._link.online.is_set() and not self._service.is_draining)

    async def _server(self, _request: Any) -> Any:
        return pb.ServerMetadataResponse(name=NAME, version=VERSION, extensions=extensions(self._memory))

    def _about(self, method: str) -> Handle:
        """Return the call that asks Triton about a model."""

        async def ask(request: Any) -> Any:
            check_version(request.version)
            return await self._caller.ask(method, type(request)(name=request.name, version=request.version))

        return ask

    async def _index(self, request: Any) -> Any:
        return await self._caller.ask("RepositoryIndex", pb.RepositoryIndexRequest(ready=request.ready))

    async def _no_control(self, _request: Any) -> Any:
        detail = "Models are loaded and unloaded by /v1/models, and nothing else of Triton is set through this service"
        raise Problem(403, "model-control-refused", detail)

    async def _regions(self, request: Any) -> Any:
        self._memory.check_allowed()
        found = pb.SystemSharedMemoryStatusResponse()
        for region in self._memory.list(request.name):
            told = found.regions[region.name]
            told.name, told.key, told.offset, told.byte_size = region.name, region.key, region.offset, region.size
        return found

    async def _register(self, request: Any) -> Any:
        self._memory.check_allowed()
        if not 1 <= request.byte_size < _MAX_SIZE or request.offset >= _MAX_SIZE:
            raise wrong("byte_size must be a whole number of at least 1, and both it and offset below 2^63")
        await self._memory.register(request.name, request.key, request.offset, request.byte_size)
        return pb.SystemSharedMemoryRegisterResponse()

    async def _unregister(self, request: Any) -> Any:
        self._memory.check_allowed()
        await self._memory.unregister(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def _no_cuda(self, _request: Any) -> Any:
        detail = "CUDA shared memory is not taken through this service; use system shared memory, or raw contents"
        raise Problem(403, "shared-memory-refused", detail)

    async def _no_cuda_regions(self, request: Any) -> Any:
        """Answer that there is none, and that none is left: perf_analyzer unregisters all before it begins."""
        if isinstance(request, pb.CudaSharedMemoryStatusRequest):
            return pb.CudaSharedMemoryStatusResponse()
        return pb.CudaSharedMemoryUnregisterResponse()


def _failed(body: bytes, status: Status) -> bytes:
    """Return the answer of a stream to a request that failed."""
    told = pb.ModelInferResponse(id=id_of(body))
    return bytes(pb.ModelStreamInferResponse(error_message=status[1], infer_response=told).SerializeToString())
