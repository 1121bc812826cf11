"""Direct inference: a request's tensors to any model of the server, and its outputs back; no card, no verdict."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import structlog
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.admission import AdmissionGate
from lineside_inference.dataplane.datatypes import size_of
from lineside_inference.dataplane.infer_request import InferRequest
from lineside_inference.dataplane.model_outputs import ModelOutputs, Outputs
from lineside_inference.dataplane.tensor_buffers import SlotBudget, TensorBuffers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.any_model import AnyModel
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.engine.message import InferMessage, Reply
from lineside_inference.engine.triton import Engine
from lineside_inference.errors import EngineFailed, EngineRefused, Expired, RequestError
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference.direct")

_MAX_MESSAGES = 64
"""Kept for one request: one a slot, and as many again for another version."""


@dataclass(frozen=True, slots=True, eq=False)
class DirectResult:
    """What a model answered.

    `head` describes the outputs; `data` has the bytes of each, None for one in the client's own memory. They may lie in
    the request's slot: they can be read until its buffers are released. Times in seconds: the wait for a place, and
    what Triton took.
    """

    head: pb.ModelInferResponse
    data: tuple[bytes | memoryview | None, ...]
    queued_s: float
    engine_s: float


class DirectInference:
    """Runs the requests; at most so many at a time as the gate has places."""

    def __init__(self, engine: Engine, gate: AdmissionGate, limits: LimitSettings) -> None:
        """Make it; it holds at most the slots that are more than judging has places."""
        slots = min(limits.v2_concurrency, len(engine.arena.slots) - limits.concurrency)
        self.client_memory = ClientMemory(engine.link, limits)
        self._engine = engine
        self._gate = gate
        self._caller = engine.caller
        self._budget = SlotBudget(engine.arena, slots)
        self._outputs = ModelOutputs(engine.caller)
        self._messages: WeakKeyDictionary[InferRequest, dict[tuple[object, ...], InferMessage]] = WeakKeyDictionary()

    @property
    def budget(self) -> SlotBudget | None:
        """The slots for requests' tensors; None while Triton does not see them."""
        return self._budget if self._caller.is_shared else None

    def using(self, name: str, version: str) -> AbstractContextManager[str]:
        """Hold a version; as of Engine.using."""
        return self._engine.using(name, version)

    def forget(self, name: str) -> None:
        """Take note that a model came or went."""
        self._outputs.forget_all(name)

    async def run(
        self, name: str, version: str, buffers: TensorBuffers, arrived: float, deadline: Deadline
    ) -> DirectResult:
        """Run one request; `arrived` is when it came, on the clock of deadlines.

        Raises Refused, Stopping, Expired, ModelUnknown, EngineRefused, EngineUnavailable, EngineTimeout or
        EngineFailed.
        """
        with self._gate.admit():
            waits = time.monotonic()
            async with self._gate.place(deadline):
                queued_s = time.monotonic() - waits
                # During a change of models Triton serves two versions: where none is named, the one in force.
                with self._engine.using(name, version) as used:
                    deadline = _shorten(deadline, buffers.request, arrived)
                    if deadline.has_passed:
                        raise Expired("the deadline passed before the model ran", remedy="Give a later deadline")
                    start = time.monotonic()
                    reply = await self._run(name, used, buffers, deadline)
                    engine_s = time.monotonic() - start
        data = tuple(_data(reply, index, buffers) for index in range(len(reply.head.outputs)))
        return DirectResult(reply.head, data, queued_s, engine_s)

    async def _run(self, name: str, version: str, buffers: TensorBuffers, deadline: Deadline) -> Reply:
        outputs = await self._outputs_of(name, version, deadline) if buffers.slot is not None else None
        names = list(outputs.shapes) if outputs is not None else []
        if outputs is not None:
            buffers.make_room(outputs.sizes(_batch(buffers.request)))
        model = AnyModel(self._caller, name, version)

        def build(region: str | None) -> InferMessage:
            return self._message(model, version, names, buffers, region)

        with self._forgetting(name, version, outputs):
            try:
                return await self._caller.infer(model, build, buffers.slot, deadline)
            except EngineRefused as error:
                if outputs is None or not buffers.rooms or "shared memory" not in str(error):
                    raise
                log.info("outputs of a model are larger than it says; they go in bytes", model=name, reason=str(error))
                outputs.is_sure = False
                buffers.rooms.clear()
                return await self._caller.infer(model, build, buffers.slot, deadline)

    @contextmanager
    def _forgetting(self, name: str, version: str, outputs: Outputs | None) -> Iterator[None]:
        """Ask for the model's outputs again after a failure: it may be another model now."""
        try:
            yield
        except Exception:
            if outputs is None or outputs.is_sure:
                self._outputs.forget(name, version)
            raise

    def _message(
        self, model: AnyModel, version: str, names: list[str], buffers: TensorBuffers, region: str | None
    ) -> InferMessage:
        """Return the message, the one of before where the same request lies in the same slot."""
        slot = buffers.slot
        key = (model.name, version, region, slot and slot.index, *buffers.rooms.items())
        kept = self._messages.setdefault(buffers.request, {})
        known = kept.get(key)
        if known is None:
            known = buffers.message(model.name, version, names, region)
            if not known.tensors and len(kept) < _MAX_MESSAGES:
                kept[key] = known
        return known

    async def _outputs_of(self, name: str, version: str, deadline: Deadline) -> Outputs | None:
        """Return what the model gives; None where that cannot be told now: the request itself will say why."""
        if (known := self._outputs.known(name, version)) is not None:
            return known
        try:
            async with asyncio.timeout(deadline.left()):
                return await self._outputs.of(name, version)
        except (RequestError, TimeoutError):
            return None


def _batch(request: InferRequest) -> int:
    return next((given.shape[0] for given in request.inputs if given.shape), 1)


def _shorten(deadline: Deadline, request: InferRequest, arrived: float) -> Deadline:
    """Return the deadline, or Triton's parameter `timeout` in microseconds where that is sooner."""
    timeout = request.parameters.get("timeout")
    if type(timeout) is not int or timeout <= 0:
        return deadline
    return Deadline(min(deadline.at, arrived + timeout / 1_000_000))


def _data(reply: Reply, index: int, buffers: TensorBuffers) -> bytes | memoryview | None:
    """Return an output's bytes, from the slot where Triton says that it put them there, else from the message."""
    output = reply.head.outputs[index]
    if any(wanted.name == output.name and wanted.region is not None for wanted in buffers.request.outputs):
        return None
    size = size_of(output.datatype, output.shape)
    if "shared_memory_region" in output.parameters and output.name in buffers.rooms and size is not None:
        at, room = buffers.rooms[output.name]
        if size > room:
            raise EngineFailed(f"output {output.name!r} has {size} bytes and room for {room}")
        return buffers.memory[at : at + size]
    if index >= len(reply.raw) or (size is not None and len(reply.raw[index]) != size):
        raise EngineFailed(f"Triton's answer has not the bytes of output {output.name!r}")
    return reply.raw[index]
