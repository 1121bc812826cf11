"""A client's tensors, each placed at the input of the model that it stands for, with its shape and size in bytes.

A tensor is the input that its metadata names, else, without a name, the one at its place. A shape may be left out, too,
where the model's own and the bytes say it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lineside.edge_manager.protocol import agent_pb2 as pb
from lineside_inference.agent.datatypes import OURS, word
from lineside_inference.agent.signature import ModelTensor, Signature
from lineside_inference.dataplane.datatypes import BYTES, ITEM_BYTES, check_strings, count_strings
from lineside_inference.errors import TensorDatatype, TensorName, TensorShape, TensorValues

_MAX_RANK = 16


@dataclass(frozen=True, slots=True)
class Placed:
    """A tensor at its input: `size` bytes, which `tensor` brings or says where they are."""

    input: ModelTensor
    shape: tuple[int, ...]
    size: int
    tensor: pb.Tensor


def place(tensors: Sequence[pb.Tensor], signature: Signature, *, max_strings: int) -> list[Placed]:
    """Return the tensors in the order of the model's inputs; the elements of BYTES in shared memory are unchecked.

    `max_strings` are the most elements of one tensor of BYTES.
    Raises TensorName, TensorDatatype, TensorShape or TensorValues.
    """
    inputs = signature.inputs
    if len(tensors) != len(inputs):
        raise TensorName(f"{len(tensors)} tensors for a model of {len(inputs)} inputs", remedy=_takes(inputs))
    by_key = {given.key: index for index, given in enumerate(inputs)}
    placed: dict[int, Placed] = {}
    for index, tensor in enumerate(tensors):
        name = tensor.tensor_metadata.name
        at = by_key.get(name) if name else index
        if at is None:
            raise TensorName(f"the model has no input {name[:100]!r}", remedy=_takes(inputs))
        if at in placed:
            raise TensorName(f"input {inputs[at].name!r} is given twice", remedy=_takes(inputs))
        placed[at] = _placed(tensor, inputs[at], max_strings, is_batched=signature.is_batched)
    return [placed[at] for at in range(len(inputs))]


def _placed(tensor: pb.Tensor, wanted: ModelTensor, max_strings: int, *, is_batched: bool) -> Placed:
    name = wanted.name
    if tensor.HasField("tensor_metadata") and tensor.tensor_metadata.data_type != OURS.get(wanted.datatype):
        given = word(tensor.tensor_metadata.data_type)
        raise TensorDatatype(f"input {name!r} is {given}", remedy=f"Give {_described(wanted)}")
    given_shape = tuple(tensor.tensor_metadata.shape[: _MAX_RANK + 1])
    if len(given_shape) > _MAX_RANK or any(length < 0 for length in given_shape):
        raise TensorShape(
            f"input {name!r}: shape {list(given_shape)} has a length below 0, or more than {_MAX_RANK} of them",
            remedy=f"Give the lengths that its bytes have; the model takes {list(wanted.shape)}",
        )
    source = tensor.WhichOneof("data")
    if source is None:
        raise TensorValues(f"input {name!r} has no data", remedy="Give byte_data or shared_memory_handle")
    data = tensor.byte_data if source == "byte_data" else None
    size = len(data) if data is not None else tensor.shared_memory_handle.size or None
    if wanted.datatype == BYTES:
        return _placed_bytes(tensor, wanted, given_shape, size, max_strings)
    shape = given_shape or _inferred(wanted, size, is_batched=is_batched)
    needed = ITEM_BYTES[wanted.datatype] * math.prod(shape)
    if size is not None and size != needed:
        kind = word(OURS[wanted.datatype])
        raise TensorShape(f"input {name!r} has {size} bytes", remedy=f"{kind} {list(shape)} needs {needed}")
    return Placed(wanted, shape, needed, tensor)


def _inferred(wanted: ModelTensor, size: int | None, *, is_batched: bool) -> tuple[int, ...]:
    """Return the model's own shape, with the one length that the bytes say; a batch beside another one is 1."""
    shape = list(wanted.shape)
    if is_batched and shape[:1] == [-1] and (size is None or shape.count(-1) > 1):
        shape[0] = 1
    if -1 not in shape:
        return tuple(shape)
    one = ITEM_BYTES.get(wanted.datatype, 1) * math.prod(length for length in shape if length >= 0)
    if size is None or shape.count(-1) > 1 or not one or size % one:
        raise TensorShape(
            f"input {wanted.name!r} has no shape in its metadata, and its bytes do not say it",
            remedy=f"Give the shape; the model takes {list(wanted.shape)}",
        )
    return tuple(size // one if length < 0 else length for length in shape)


def _placed_bytes(
    tensor: pb.Tensor, wanted: ModelTensor, given: tuple[int, ...], size: int | None, max_strings: int
) -> Placed:
    """Place a tensor of BYTES: its shape is that of its elements, or the number of its bytes where it is one length."""
    name = wanted.name
    if size is None:
        raise TensorShape(
            f"input {name!r} is BYTES in shared memory without a size", remedy="Give the handle's size in bytes"
        )
    data = tensor.byte_data if tensor.WhichOneof("data") == "byte_data" else None
    if given and given != (size,):
        shape = given
    else:
        shape = _of_elements(wanted, count_strings(data, max_strings)[0] if data is not None else 1)
    if (count := math.prod(shape)) > max_strings:
        raise TensorValues(
            f"input {name!r} has more than {max_strings} elements of BYTES", remedy="See inference.limits.strings"
        )
    if data is not None:
        check_strings(name, data, count)
    return Placed(wanted, shape, size, tensor)


def _of_elements(wanted: ModelTensor, count: int) -> tuple[int, ...]:
    """Return the model's shape for so many elements: its first open length takes them all, others are 1."""
    shape = list(wanted.shape)
    known = math.prod(length for length in shape if length >= 0)
    if -1 in shape and known and count % known == 0:
        shape[shape.index(-1)] = count // known
    found = tuple(1 if length < 0 else length for length in shape)
    if math.prod(found) != count:
        raise TensorShape(f"input {wanted.name!r} has {count} elements", remedy=f"The model takes {list(wanted.shape)}")
    return found


def _takes(inputs: Sequence[ModelTensor]) -> str:
    return f"It takes {', '.join(map(_described, inputs))}"[:1000]


def _described(wanted: ModelTensor) -> str:
    kind = word(OURS.get(wanted.datatype, -1))
    is_same = kind == wanted.datatype.replace("FP", "FLOAT")
    return f"{wanted.name!r} as {kind}{'' if is_same else f' (for {wanted.datatype})'} {list(wanted.shape)}"
