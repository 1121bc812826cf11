"""What is said to Triton and what it answers, as messages of its gRPC protocol (KServe v2 with extensions)."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.arena import Slot, aligned
from lineside_inference.errors import EngineFailed
from lineside_inference.models.card import Card

Transport = Literal["shared-memory", "bytes"]

DTYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
}
_LINE = 64  # bytes; the output begins on a cache line of its own
_WIDEST = 8


@dataclass(frozen=True)
class Layout:
    """Where a model's tensors lie in a slot, in bytes from its beginning."""

    input_bytes: int
    output_at: int
    output_bytes: int

    @classmethod
    def of(cls, card: Card) -> "Layout":
        """Work out the layout; the output gets room for the widest datatype."""
        size = int(np.prod(card.input.shape)) * np.dtype(DTYPES[card.input.datatype]).itemsize
        return cls(size, aligned(size, _LINE), len(card.labels) * _WIDEST)

    @property
    def size(self) -> int:
        """Bytes of a slot that one request of this model needs."""
        return self.output_at + self.output_bytes


def input_view(card: Card, layout: Layout, slot: Slot) -> NDArray[Any]:
    """Return the input's place in a slot as an array of the card's shape and datatype."""
    return slot.memory[: layout.input_bytes].view(DTYPES[card.input.datatype]).reshape(card.input.shape)


def ask(card: Card, layout: Layout, slot: Slot, *, region: str | None, batched: bool) -> pb.ModelInferRequest:
    """Return the request for a slot; with a region it carries names and offsets only, else the bytes go in later."""
    shape = [1, *card.input.shape] if batched else list(card.input.shape)
    tensor = pb.ModelInferRequest.InferInputTensor(name=card.input.name, datatype=card.input.datatype, shape=shape)
    wanted = pb.ModelInferRequest.InferRequestedOutputTensor(name=card.output.name)
    if region is not None:
        _place(tensor.parameters, region, slot.offset, layout.input_bytes)
        _place(wanted.parameters, region, slot.offset + layout.output_at, layout.output_bytes)
    return pb.ModelInferRequest(model_name=card.name, model_version=card.version, inputs=[tensor], outputs=[wanted])


def read_output(response: pb.ModelInferResponse, card: Card, layout: Layout, slot: Slot | None) -> NDArray[np.generic]:
    """Return a copy of the output: from the slot where it was asked for there, else (None) from the message.

    Raises EngineFailed where it is not there.
    """
    place = next((index for index, found in enumerate(response.outputs) if found.name == card.output.name), None)
    if place is None:
        raise EngineFailed(f"Triton's answer for model {card.name!r} has no output {card.output.name!r}")
    output = response.outputs[place]
    dtype = DTYPES.get(output.datatype)
    if dtype is None:
        raise EngineFailed(f"output {card.output.name!r} of model {card.name!r} is {output.datatype}, not numbers")
    shape = tuple(output.shape)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if slot is not None:
        raw: Any = slot.memory[layout.output_at : layout.output_at + layout.output_bytes]
    else:
        raw = response.raw_output_contents[place] if place < len(response.raw_output_contents) else b""
    if len(raw) < size:
        raise EngineFailed(
            f"output {card.output.name!r} of model {card.name!r} has shape {list(shape)}, more than came or fits",
            remedy=f"Its card has {len(card.labels)} labels: make the card agree with the model",
        )
    values: NDArray[np.generic] = np.frombuffer(raw, dtype, count=int(np.prod(shape))).reshape(shape).copy()
    return values


def is_batched(card: Card, metadata: pb.ModelMetadataResponse) -> bool:
    """Check a served model against its card and return whether its tensors have a batch dimension.

    Raises EngineFailed that names what differs.
    """
    theirs = {tensor.name: tensor for tensor in metadata.inputs}
    if set(theirs) != {card.input.name}:
        raise EngineFailed(f"model {card.name!r} takes {sorted(theirs)} in Triton, its card {card.input.name!r}")
    tensor = theirs[card.input.name]
    if tensor.datatype != card.input.datatype:
        raise EngineFailed(
            f"input {tensor.name!r} of model {card.name!r} is {tensor.datatype} in Triton, "
            f"{card.input.datatype} in its card"
        )
    if card.output.name not in {output.name for output in metadata.outputs}:
        names = sorted(output.name for output in metadata.outputs)
        raise EngineFailed(f"model {card.name!r} gives {names} in Triton, its card says {card.output.name!r}")
    shape = list(tensor.shape)
    if _agree(shape, list(card.input.shape)):
        return False
    if shape[:1] == [-1] and _agree(shape[1:], list(card.input.shape)):
        return True
    raise EngineFailed(
        f"input {tensor.name!r} of model {card.name!r} has shape {shape} in Triton, "
        f"{list(card.input.shape)} in its card"
    )


def _agree(theirs: list[int], ours: list[int]) -> bool:
    return len(theirs) == len(ours) and all(a in {-1, b} for a, b in zip(theirs, ours, strict=True))


def _place(parameters: Any, region: str, offset: int, size: int) -> None:
    parameters["shared_memory_region"].string_param = region
    parameters["shared_memory_offset"].int64_param = offset
    parameters["shared_memory_byte_size"].int64_param = size
