"""A ModelInfer call's message: read by the rules of the v2 HTTP face, its tensors copied once, to Triton.

A head (all but raw contents) of names and sizes only that comes again byte for byte is not read again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.infer_request import InferRequest
from lineside_inference.dataplane.tensor_buffers import SlotBudget, TensorBuffers
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.engine.parameters import plain
from lineside_inference.errors import MessageInvalid
from lineside_inference.grpc_v2 import contents
from lineside_inference.grpc_v2.wire import split
from lineside_inference.rpc.answering import Call, read_message
from lineside_inference.settings import LimitSettings
from lineside_inference.v2.describe import check_version
from lineside_inference.v2.intake import check_bytes
from lineside_inference.v2.request_json import read_values, wrong

_SMALL = 4096
_MAX_KEPT = 256
_MAX_NAME = 256
_OTHER_FIELDS = 64
"""Fields of a request beside its tensors: name, version, id, and parameters."""
_HTTPS_OWN = ("binary_data", "binary_data_size", "binary_data_output")
"""What only HTTP has a use for; clients that speak both send it here too."""
_EMPTY_FINAL = "triton_enable_empty_final_response"
"""Asks for an answer that says that no more come; here every answer is the last one of its request."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What one call asks; `packed` has the bytes of inputs whose values stood in the message."""

    name: str
    version: str
    request: InferRequest
    packed: tuple[bytes | None, ...]


class Intake:
    """Reads the messages of inference calls."""

    def __init__(self, limits: LimitSettings, workers: Workers, memory: ClientMemory) -> None:
        self._limits = limits
        self._workers = workers
        self._memory = memory
        self._max_fields = 2 * limits.tensors + limits.outputs + _OTHER_FIELDS
        self._kept: dict[tuple[bytes, tuple[int, ...]], Asked] = {}
        self._kept_for = memory.version

    async def take(self, body: bytes, call: Call, budget: SlotBudget | None) -> tuple[Asked, TensorBuffers]:
        """Return what is asked, with its tensors where Triton will read them; give them back with `release`.

        Raises MessageInvalid, Problem, Refused, and the errors of `datatypes`.
        """
        head, raw = split(body, self._max_fields)
        if len(head) > self._limits.json_bytes:
            detail = f"The request has {len(head)} bytes without raw_input_contents; at most {self._limits.json_bytes}"
            raise Problem(413, "body-too-large", f"{detail} are read (inference.limits.json_bytes)")
        asked = await self._asked(head, tuple(map(len, raw)))
        request = _within(asked.request, call)
        buffers = TensorBuffers(request, [given.size or 0 for given in request.inputs], budget)
        try:
            left = iter(raw)
            for given, data, (at, _size) in zip(request.inputs, asked.packed, buffers.spans, strict=True):
                if given.region is None:
                    buffers.write(at, next(left) if data is None else data)
            await check_bytes(buffers)
        except BaseException:
            buffers.release()
            raise
        return asked, buffers

    async def _asked(self, head: bytes, sizes: tuple[int, ...]) -> Asked:
        if self._kept_for != self._memory.version:
            self._kept.clear()
            self._kept_for = self._memory.version
        known = self._kept.get((head, sizes))
        if known is not None:
            return known
        found = await self._workers.read(len(head), self._read, head, sizes)
        # Whoever gives an id gives another one each time.
        is_the_same_again = not found.request.id and all(data is None for data in found.packed)
        if len(head) <= _SMALL and is_the_same_again and self._kept_for == self._memory.version:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[head, sizes] = found
        return found

    def _read(self, head: bytes, sizes: Sequence[int]) -> Asked:
        message = read_message(pb.ModelInferRequest, head)
        if not 1 <= len(message.model_name) <= _MAX_NAME:
            raise wrong(f"model_name must have 1 to {_MAX_NAME} characters")
        check_version(message.model_version)
        values = sum(contents.count(given.contents) for given in message.inputs)
        if values > self._limits.json_body_values:
            detail = f"The contents have {values} values; at most {self._limits.json_body_values} are read"
            raise Problem(
                413, "body-too-large", f"{detail} (inference.limits.json_body_values). Send raw_input_contents"
            )
        packed = _packed(message.inputs, sizes)
        left = iter(sizes)
        inputs = []
        for given, data in zip(message.inputs, packed, strict=True):
            one = _tensor(given, "input") | {"datatype": given.datatype, "shape": list(given.shape)}
            if "shared_memory_region" not in one["parameters"]:
                one["parameters"]["binary_data_size"] = next(left) if data is None else len(data)
            inputs.append(one)
        form = {
            "id": message.id,
            "parameters": _parameters(message, "the request") | {"binary_data_output": True},
            "inputs": inputs,
            "outputs": [_tensor(wanted, "output") for wanted in message.outputs],
        }
        request = read_values(form, self._limits, binary=True, regions=self._memory.find)
        return Asked(message.model_name, message.model_version, request, packed)


def id_of(body: bytes) -> str:
    """Return the id of a request, empty where it has none or cannot be read."""
    try:
        head, _raw = split(body, _SMALL)
        return str(read_message(pb.ModelInferRequest, head).id) if len(head) <= _SMALL else ""
    except MessageInvalid:
        return ""


def _packed(inputs: Sequence[Any], sizes: Sequence[int]) -> tuple[bytes | None, ...]:
    """Return the bytes of the inputs that have contents; raises Problem 400 where raw contents are not the others'."""
    shared = ["shared_memory_region" in given.parameters for given in inputs]
    for given, is_shared in zip(inputs, shared, strict=True):
        if given.HasField("contents") and contents.count(given.contents) and (sizes or is_shared):
            other = "names shared memory" if is_shared else "the request has raw_input_contents"
            raise wrong(f"input {given.name!r:.100} has contents, and {other}: give one of them")
    if sizes:
        if len(sizes) != shared.count(False):
            raise wrong(
                f"raw_input_contents has {len(sizes)} entries; "
                f"{shared.count(False)} of {len(shared)} inputs need one, those that name no shared memory"
            )
        return (None,) * len(inputs)
    return tuple(
        None if is_shared else contents.pack(given.name, given.datatype, given.contents)
        for given, is_shared in zip(inputs, shared, strict=True)
    )


def _tensor(given: Any, kind: str) -> dict[str, Any]:
    return {"name": given.name, "parameters": _parameters(given, f"{kind} {given.name!r:.100}")}


def _parameters(given: Any, where: str) -> dict[str, Any]:
    for name, value in given.parameters.items():
        if value.WhichOneof("parameter_choice") is None:
            raise wrong(f"{where}: parameter {name!r:.60} has no value")
        if not math.isfinite(value.double_param):
            raise wrong(f"{where}: parameter {name!r:.60} is {value.double_param}; a number must be finite")
    left_out = (*_HTTPS_OWN, _EMPTY_FINAL)
    return {name: value for name, value in plain(given.parameters).items() if name not in left_out}


def _within(request: InferRequest, call: Call) -> InferRequest:
    """Return the request with the client's deadline, for a model whose queue in Triton looks at it."""
    if not call.is_clients or "timeout" in request.parameters:
        return request
    microseconds = max(1, int(call.deadline.left() * 1_000_000))
    return replace(request, parameters={**request.parameters, "timeout": microseconds})
