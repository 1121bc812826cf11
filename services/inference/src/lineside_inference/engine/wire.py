"""What is said to Triton and what it answers, as messages of its gRPC protocol (KServe v2 with extensions)."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.arena import Slot, aligned
from lineside_inference.engine.message import Reply
from lineside_inference.engine.parameters import in_region
from lineside_inference.errors import EngineFailed
from lineside_inference.models import head
from lineside_inference.models.card import Card
from lineside_inference.models.dtypes import DTYPES

Transport = Literal["shared-memory", "bytes"]

_LINE = 64  # bytes; every tensor begins on a cache line of its own
_MAX_OUTPUT_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class OutputRoom:
    """Where one output lies in a slot, in bytes from its beginning; `size` is None where it comes in the answer."""

    name: str
    at: int
    size: int | None


@dataclass(frozen=True)
class Layout:
    """Where a model's tensors lie in a slot, in bytes from its beginning; `size` is what one request needs."""

    input_bytes: int
    outputs: tuple[OutputRoom, ...]
    size: int

    @classmethod
    def of(cls, card: Card) -> "Layout":
        """Work out the layout: the input, then each output whose size the card tells."""
        input_bytes = int(np.prod(card.input.shape)) * np.dtype(DTYPES[card.input.datatype]).itemsize
        places, end = [], input_bytes
        for tensor in card.tensors:
            at = aligned(end, _LINE)
            places.append(OutputRoom(tensor.name, at, tensor.room))
            end = at + (tensor.room or 0)
        return cls(input_bytes, tuple(places), end)


def input_view(card: Card, layout: Layout, slot: Slot) -> NDArray[Any]:
    """Return the input's place in a slot as an array of the card's shape and datatype."""
    return slot.memory[: layout.input_bytes].view(DTYPES[card.input.datatype]).reshape(card.input.shape)


def ask(card: Card, layout: Layout, slot: Slot, *, region: str | None, axes: int) -> pb.ModelInferRequest:
    """Return the request for a slot; with a region it carries names and offsets only, else the bytes go in later.

    An output of unknown size is asked for in the answer, also with a region. `axes` of length 1 come before the card's.
    """
    shape = [1] * axes + list(card.input.shape)
    tensor = pb.ModelInferRequest.InferInputTensor(name=card.input.name, datatype=card.input.datatype, shape=shape)
    wanted = [pb.ModelInferRequest.InferRequestedOutputTensor(name=place.name) for place in layout.outputs]
    if region is not None:
        in_region(tensor.parameters, region, slot.offset, layout.input_bytes)
        for output, place in zip(wanted, layout.outputs, strict=True):
            if place.size is not None:
                in_region(output.parameters, region, slot.offset + place.at, place.size)
    return pb.ModelInferRequest(model_name=card.name, model_version=card.version, inputs=[tensor], outputs=wanted)


def read_outputs(reply: Reply, card: Card, layout: Layout, slot: Slot | None) -> dict[str, NDArray[np.generic]]:
    """Return the outputs by name, each with the shape that Triton tells.

    One that was asked for in a slot is copied from there; one that came in the answer (all, with slot None) is a
    read-only view of it. Raises EngineFailed where one is not there, is no numbers, or has another size than it says.
    """
    found = {output.name: index for index, output in enumerate(reply.head.outputs)}
    return {place.name: _read_output(reply, found.get(place.name), card, place, slot) for place in layout.outputs}


def _read_output(
    reply: Reply, index: int | None, card: Card, place: OutputRoom, slot: Slot | None
) -> NDArray[np.generic]:
    if index is None:
        raise EngineFailed(f"Triton's answer for model {card.name!r} has no output {place.name!r}")
    output = reply.head.outputs[index]
    dtype = DTYPES.get(output.datatype)
    if dtype is None:
        raise EngineFailed(f"output {place.name!r} of model {card.name!r} is {output.datatype}, not numbers")
    shape = tuple(output.shape)
    count = math.prod(shape)
    size = count * np.dtype(dtype).itemsize
    is_inside = slot is None or place.size is None
    if slot is not None and place.size is not None:
        raw: Any = slot.memory[place.at : place.at + place.size]
    else:
        raw = reply.raw[index] if index < len(reply.raw) else b""
    if min(shape, default=0) < 0 or len(raw) < size or size > _MAX_OUTPUT_BYTES:
        raise EngineFailed(
            f"output {place.name!r} of model {card.name!r} has shape {list(shape)}, more than came or fits",
            remedy=f"Its card makes room for {place.size or _MAX_OUTPUT_BYTES} bytes: make it agree with the model",
        )
    values: NDArray[np.generic] = np.frombuffer(raw, dtype, count=count).reshape(shape)
    return values if is_inside else values.copy()


def batch_axes(card: Card, metadata: pb.ModelMetadataResponse) -> int:
    """Check a served model against its card and return how many axes its input has before those of the card.

    They are batch dimensions: open, or fixed at 1 as the usual export has it, with `max_batch_size: 0`. Raises
    EngineFailed that names what differs.
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
    _check_outputs(card, metadata)
    shape, ours = list(tensor.shape), list(card.input.shape)
    axes = len(shape) - len(ours)
    before = shape[:axes] if axes > 0 else []
    agrees = axes >= 0 and all(a in {-1, b} for a, b in zip(shape[axes:], ours, strict=True))
    if agrees and all(size in {-1, 1} for size in before):
        return axes
    raise EngineFailed(
        f"input {tensor.name!r} of model {card.name!r} has shape {shape} in Triton, {ours} in its card",
        remedy="Export it with a batch of 1 or an open one: one part is judged at a time" if agrees else "",
    )


def _check_outputs(card: Card, metadata: pb.ModelMetadataResponse) -> None:
    theirs = {tensor.name: tensor for tensor in metadata.outputs}
    for output in card.tensors:
        tensor = theirs.get(output.name)
        if tensor is None:
            raise EngineFailed(f"model {card.name!r} gives {sorted(theirs)} in Triton, its card says {output.name!r}")
        if output.datatype not in {None, tensor.datatype}:
            raise EngineFailed(
                f"output {tensor.name!r} of model {card.name!r} is {tensor.datatype} in Triton, "
                f"{output.datatype} in its card"
            )
        if not output.takes(tensor.shape):
            raise EngineFailed(
                f"output {tensor.name!r} of model {card.name!r} has shape {list(tensor.shape)} in Triton, "
                f"its card reads {head.describe(output.sizes)}",
                remedy="See its labels and its head's format",
            )
