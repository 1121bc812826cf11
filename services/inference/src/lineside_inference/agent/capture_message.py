"""CaptureData's message as the capture that it asks for: the same one that POST /v1/capture takes.

What the protocol leaves open: a tensor without metadata is its bytes, as UINT8 of one axis, named as in Edge Manager's
records, `Input-1`. A tensor without a shape that is more than one value has one axis. A timestamp of zero is none.
Auxiliary data with the encodings CSV and JSON is text, which is not read; what is no UTF-8 is BASE64, for CSV is also
what a client sends that names no encoding. With NONE and BASE64 it is bytes as they are, which the record holds as
base64. Of shared memory without a size a tensor takes what its shape needs, and auxiliary data the rest of the segment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import prod
from typing import Any

from pydantic import ValidationError

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.datatypes import word
from lineside_inference.agent.names import key_of
from lineside_inference.agent.segments import attached
from lineside_inference.capture.capture_request import SIZES, CaptureRequest, CaptureUnreadable, check_instant
from lineside_inference.errors import CaptureInFuture, MessageInvalid

_LAST_S = 253_402_300_799
"""The last second of the year 9999, behind which Python has no dates."""
_NANOS = 1_000_000_000
_MAX_SHOWN = 8
_NAMES: Mapping[str, str] = {
    "inputs": "input_tensors",
    "outputs": "output_tensors",
    "auxiliary_inputs": "inputs",
    "auxiliary_outputs": "outputs",
    "model": "model_handle",
}
"""By our name of a field the protocol's, where it is another one."""


def read(request: pb.CaptureDataRequest, now: datetime, *, strict: bool, max_bytes: int) -> CaptureRequest:
    """Return the capture, with a copy of what it has in shared memory: `max_bytes` of that at most.

    `strict` refuses shared memory that anybody may write, as the agent did. Raises MessageInvalid, CaptureInFuture,
    ModelHandle, SharedMemoryInvalid or SharedMemoryRefused.
    """
    reading = _Reading(strict, max_bytes)
    document = {
        "capture_id": request.capture_id,
        "model": key_of(_Model(request.model_name, request.model_handle)),
        "inference_timestamp": _instant(request),
        "inputs": [reading.tensor("input_tensors", at, one) for at, one in enumerate(request.input_tensors)],
        "outputs": [reading.tensor("output_tensors", at, one) for at, one in enumerate(request.output_tensors)],
        "auxiliary_inputs": [reading.file("inputs", at, one) for at, one in enumerate(request.inputs)],
        "auxiliary_outputs": [reading.file("outputs", at, one) for at, one in enumerate(request.outputs)],
    }
    try:
        capture = CaptureRequest.model_validate(document)
        check_instant(capture, now)
    except ValidationError as error:
        raise MessageInvalid(_explain(error)) from None
    except CaptureUnreadable as error:
        kind = CaptureInFuture if error.code == CaptureInFuture.code else MessageInvalid
        raise kind(error.reason) from None
    return capture


def names_shared_memory(request: pb.CaptureDataRequest) -> bool:
    """Whether any of a capture's values are in shared memory."""
    holders = (*request.input_tensors, *request.output_tensors, *request.inputs, *request.outputs)
    return any(one.HasField("shared_memory_handle") for one in holders)


@dataclass(slots=True)
class _Model:
    name: str
    handle: str


@dataclass(slots=True)
class _Reading:
    """One message being read; `left` are the bytes of shared memory that it may name still."""

    strict: bool
    left: int

    def tensor(self, field: str, at: int, tensor: pb.Tensor) -> dict[str, Any]:
        """Return a tensor as `CapturedTensor` takes it."""
        where, metadata = f"{field}.{at}", tensor.tensor_metadata
        if metadata.data_type not in pb.DataType.values():
            known = ", ".join(pb.DataType.keys())
            raise MessageInvalid(f"{where}: data_type {metadata.data_type} is none of {known}")
        datatype, shape = word(metadata.data_type), list(metadata.shape)
        if any(length < 0 for length in shape):
            raise MessageInvalid(f"{where}: shape {shape[:_MAX_SHOWN]} has a length below 0")
        needed = prod(shape) * SIZES[datatype] if tensor.HasField("tensor_metadata") else None
        data = self._data(where, tensor, needed)
        if not shape and len(data) != SIZES[datatype]:
            shape = [len(data) // SIZES[datatype]]
        usual = f"{'Input' if field == 'input_tensors' else 'Output'}-{at + 1}"
        name = metadata.name.decode("utf-8", "backslashreplace") or usual
        return {"name": name, "datatype": datatype, "shape": shape, "data": data}

    def file(self, field: str, at: int, file: pb.AuxiliaryData) -> dict[str, Any]:
        """Return auxiliary data as `CapturedFile` takes it."""
        where = f"{field}.{at}"
        if file.encoding not in pb.Encoding.values():
            known = ", ".join(pb.Encoding.keys())
            raise MessageInvalid(f"{where}: encoding {file.encoding} is none of {known}")
        usual = f"{'Input' if field == 'inputs' else 'Output'}-{at + 1}"
        data = self._data(where, file, None)
        encoding = pb.Encoding.Name(file.encoding)
        if file.encoding in {pb.CSV, pb.JSON} and not _is_text(data):
            encoding = "BASE64"
        return {"name": file.name or usual, "encoding": encoding, "data": data}

    def _data(self, where: str, holder: pb.Tensor | pb.AuxiliaryData, needed: int | None) -> bytes:
        """Return the bytes; of shared memory without a size `needed` of them, or the segment's rest."""
        match holder.WhichOneof("data"):
            case "byte_data":
                return bytes(holder.byte_data)
            case "shared_memory_handle":
                handle = holder.shared_memory_handle
                size = handle.size or needed
                with attached(handle.segment_id, handle.offset, size, strict=self.strict) as memory:
                    self.left -= len(memory)
                    if self.left < 0:
                        raise MessageInvalid(
                            f"{where}: the capture names more shared memory than edge_manager.max_message_bytes allows"
                        )
                    return bytes(memory)
        raise MessageInvalid(f"{where}: has no data; give byte_data or shared_memory_handle")


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _instant(request: pb.CaptureDataRequest) -> datetime | None:
    seconds, nanos = request.inference_timestamp.seconds, request.inference_timestamp.nanos
    if not seconds and not nanos:
        return None
    if not 0 <= nanos < _NANOS:
        raise MessageInvalid(f"inference_timestamp: nanos is {nanos}; 0 to {_NANOS - 1} are allowed")
    if seconds > _LAST_S:
        raise CaptureInFuture(f"inference_timestamp: {seconds} s is behind the year 9999: leave it out")
    if seconds < 0:
        raise MessageInvalid(f"inference_timestamp: {seconds} s is before 1970: leave it out")
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)


def _explain(error: ValidationError) -> str:
    """Return what is wrong, by the protocol's names."""
    told = []
    for item in error.errors()[:_MAX_SHOWN]:
        first, *rest = map(str, item["loc"])
        told.append(f"{'.'.join((_NAMES.get(first, first), *rest))}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(told)
