"""Predict: a client's tensors to a model, and the model's outputs back, over the data plane that v2 uses too."""

import math

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.datatypes import OURS, told_shape
from lineside_inference.agent.loading import Loader
from lineside_inference.agent.names import key_of
from lineside_inference.agent.segments import attached
from lineside_inference.agent.signature import Signature, Signatures
from lineside_inference.agent.tensors import Placed, place
from lineside_inference.dataplane.admission import Body
from lineside_inference.dataplane.datatypes import BYTES, check_strings
from lineside_inference.dataplane.infer_request import InferRequest, Input
from lineside_inference.dataplane.tensor_buffers import TensorBuffers
from lineside_inference.deadline import Deadline
from lineside_inference.engine.caller import TritonCaller
from lineside_inference.errors import ModelUnknown
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.direct import DirectInference, DirectResult

_MAX_KEPT = 256
_ATTEMPTS = 3
"""Of a model that a client loaded and Triton does not know: it was started anew, and gets the model again."""


class Prediction:
    """Runs predictions; `strict`: only of shared memory that nobody can write."""

    def __init__(
        self,
        direct: DirectInference,
        caller: TritonCaller,
        signatures: Signatures,
        loader: Loader,
        limits: LimitSettings,
        *,
        strict: bool,
    ) -> None:
        self._direct = direct
        self._caller = caller
        self._signatures = signatures
        self._loader = loader
        self._limits = limits
        self._strict = strict
        self._kept: dict[tuple[object, ...], InferRequest] = {}

    async def predict(
        self, request: pb.PredictRequest, arrived: float, deadline: Deadline, body: Body, *, is_clients: bool
    ) -> pb.PredictResponse:
        """Return a model's outputs, in its own order; `is_clients` is whether the client gave the deadline.

        Raises ModelHandle, what `place`, `attached`, Loader.using and DirectInference.run raise, and Refused.
        """
        name = key_of(request)
        await self._caller.online(deadline)
        for attempt in range(_ATTEMPTS):
            async with self._loader.using(name, deadline):
                with self._direct.using(name, "") as version:
                    try:
                        return await self._run(request, name, version, arrived, deadline, body, is_clients=is_clients)
                    except ModelUnknown:
                        if attempt == _ATTEMPTS - 1 or not self._loader.doubt(name):
                            raise
        raise ModelUnknown(f"model {name!r} is not there")

    async def _run(
        self,
        request: pb.PredictRequest,
        name: str,
        version: str,
        arrived: float,
        deadline: Deadline,
        body: Body,
        *,
        is_clients: bool,
    ) -> pb.PredictResponse:
        try:
            signature = await self._signatures.of(name, version)
            placed = place(request.tensors, signature, max_strings=self._limits.strings)
            buffers = TensorBuffers(
                self._as_request(name, placed, deadline if is_clients else None),
                [one.size for one in placed],
                self._direct.budget,
            )
            try:
                self._fill(buffers, placed, body)
                result = await self._direct.run(name, version, buffers, arrived, deadline)
                return _response(signature, result)
            finally:
                buffers.release()
        except Exception:
            self._signatures.forget(name)  # it may be another model now
            raise

    def _as_request(self, name: str, placed: list[Placed], deadline: Deadline | None) -> InferRequest:
        """Return the request for Triton: the same value for the same shapes, by which its messages are found again.

        A client's deadline goes with it, for a model whose queue in Triton looks at it (`allow_timeout_override`).
        """
        parameters = {"timeout": max(1, int(deadline.left() * 1_000_000))} if deadline is not None else {}
        key = (name, *((one.input.name, one.input.datatype, one.shape, one.size) for one in placed))
        known = self._kept.get(key) if deadline is None else None
        if known is not None:
            return known
        inputs = tuple(Input(one.input.name, one.input.datatype, one.shape, {}, size=one.size) for one in placed)
        made = InferRequest("", parameters, inputs, (), binary=True)
        if deadline is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = made
        return made

    def _fill(self, buffers: TensorBuffers, placed: list[Placed], body: Body) -> None:
        for one, (at, size) in zip(placed, buffers.spans, strict=True):
            if one.tensor.WhichOneof("data") == "byte_data":
                buffers.write(at, one.tensor.byte_data)
                continue
            handle = one.tensor.shared_memory_handle
            if buffers.slot is None:
                body.grow(size)
            with attached(handle.segment_id, handle.offset, size, strict=self._strict) as part:
                buffers.write(at, part)
        for one, (at, size) in zip(placed, buffers.spans, strict=True):
            if one.input.datatype == BYTES and one.tensor.WhichOneof("data") != "byte_data":
                check_strings(one.input.name, buffers.memory[at : at + size], math.prod(one.shape))


def _response(signature: Signature, result: DirectResult) -> pb.PredictResponse:
    order = {output.name: place for place, output in enumerate(signature.outputs)}
    answered = sorted(
        zip(result.head.outputs, result.data, strict=True), key=lambda one: order.get(one[0].name, len(order))
    )
    response = pb.PredictResponse()
    for output, data in answered:
        given = bytes(data or b"")
        metadata = pb.TensorMetadata(
            name=output.name.encode(),
            data_type=OURS.get(output.datatype, pb.UINT8),
            shape=told_shape(output.datatype, output.shape, len(given)),
        )
        response.tensors.add(tensor_metadata=metadata, byte_data=given)
    return response
