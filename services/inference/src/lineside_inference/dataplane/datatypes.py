"""The protocol's datatypes: their sizes, and the way between their bytes and JSON values.

Bytes are little-endian in row-major order; an element of BYTES is a length of four bytes and then so many bytes. BF16
has no JSON form (as in Triton), FP16 has one here.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import OutputNotFinite, OutputNotJson, TensorDatatype, TensorShape, TensorValues
from lineside_inference.models import head
from lineside_inference.models.dtypes import DTYPES

BYTES = "BYTES"
BF16 = "BF16"
ITEM_BYTES: dict[str, int] = head.ITEM_BYTES | {BF16: 2}
"""Bytes of one element; BYTES is not here, its elements have a length of their own."""
_LENGTH = 4


def size_of(datatype: str, shape: Sequence[int]) -> int | None:
    """Return a tensor's bytes, or None where they are not known: BYTES, or a dimension of -1."""
    item = ITEM_BYTES.get(datatype)
    return None if item is None or any(length < 0 for length in shape) else item * math.prod(shape)


def check_size(name: str, datatype: str, shape: Sequence[int], size: int) -> None:
    """Raise TensorShape where so many bytes cannot be a tensor of this datatype and shape."""
    needed = size_of(datatype, shape)
    if needed is None:
        if size < _LENGTH * math.prod(shape):
            raise TensorShape(
                f"input {name!r} has {size} bytes",
                remedy=f"Shape {list(shape)} of BYTES needs {_LENGTH * math.prod(shape)} for the lengths alone",
            )
    elif size != needed:
        raise TensorShape(f"input {name!r} has {size} bytes", remedy=f"{datatype} {list(shape)} needs {needed}")


def count_strings(data: bytes | memoryview, most: int) -> tuple[int, int]:
    """Return how many elements BYTES have by their lengths, one more than `most` at most, and where the last ends."""
    at = seen = 0
    while at < len(data) and seen <= most:
        at += _LENGTH + int.from_bytes(data[at : at + _LENGTH], "little")
        seen += 1
    return seen, at


def check_strings(name: str, data: bytes | memoryview, count: int) -> None:
    """Walk the elements of BYTES; raises TensorValues where they are not `count`, or do not end where the data does."""
    seen, end = count_strings(data, count)
    if seen != count or end != len(data):
        raise TensorValues(
            f"input {name!r}: the lengths in its {len(data)} bytes do not give {count} elements",
            remedy="Every element of BYTES is its length in four little-endian bytes, then the element",
        )


def pack(name: str, datatype: str, shape: Sequence[int], data: list[Any]) -> bytes:
    """Return the bytes of JSON values, nested as the shape says or flat; raises TensorDatatype, -Shape or -Values."""
    if datatype == BF16:
        raise TensorDatatype(f"input {name!r} is BF16 in JSON", remedy="BF16 has no JSON form: send it as binary")
    count = math.prod(shape)
    flat = _flat(name, shape, data)
    if len(flat) != count:
        raise TensorShape(f"input {name!r} has {len(flat)} values", remedy=f"Shape {list(shape)} needs {count}")
    kinds = set(map(type, flat))
    if datatype == BYTES:
        if kinds <= {str}:
            parts = (text.encode() for text in flat)
            return b"".join(chain.from_iterable((len(part).to_bytes(_LENGTH, "little"), part) for part in parts))
        raise TensorValues(f"input {name!r} has a value that is not a string", remedy="BYTES in JSON are strings")
    dtype = np.dtype(DTYPES[datatype])
    allowed: set[type] = {bool} if dtype.kind == "b" else {int, float} if dtype.kind == "f" else {int}
    if not kinds <= allowed:
        words = " or ".join(sorted(kind.__name__ for kind in allowed))
        strange = min(kind.__name__ for kind in kinds - allowed)
        raise TensorValues(f"input {name!r} has a value of type {strange}", remedy=f"{datatype} takes {words}")
    try:
        with np.errstate(over="ignore"):
            values = np.array(flat, dtype)
    except OverflowError:
        values = None
    if values is None or (dtype.kind == "f" and not np.isfinite(values).all()):
        raise TensorValues(f"input {name!r} has a value out of its range", remedy=f"Every value must fit {datatype}")
    return values.tobytes()


def unpack(name: str, datatype: str, data: bytes | memoryview) -> list[Any]:
    """Return an output's bytes as flat JSON values; raises OutputNotJson or OutputNotFinite where JSON has none."""
    remedy = "Ask for it as binary: output parameter binary_data, or request parameter binary_data_output"
    if datatype == BYTES:
        try:
            return [str(part, "utf-8") for part in _strings(data)]
        except UnicodeDecodeError:
            raise OutputNotJson(f"output {name!r} has bytes that are no text", remedy=remedy) from None
    kind = DTYPES.get(datatype)
    if kind is None:
        raise OutputNotJson(f"output {name!r} is {datatype}, which has no JSON form", remedy=remedy)
    values: NDArray[Any] = np.frombuffer(data, kind)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise OutputNotFinite(
            f"output {name!r} has values that are not finite, which JSON does not know", remedy=remedy
        )
    listed: list[Any] = values.tolist()
    return listed


def _strings(data: bytes | memoryview) -> list[bytes | memoryview]:
    at, parts = 0, []
    while at < len(data):
        start = at + _LENGTH
        at = start + int.from_bytes(data[at:start], "little")
        parts.append(data[start:at])
    return parts


def _flat(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """Return the values of nested lists; only lists of exactly the shape's lengths are taken apart."""
    if not data or not isinstance(data[0], list):
        return data
    level: list[Any] = data
    for depth in range(len(shape)):
        if len(level) != math.prod(shape[: depth + 1]):
            break
        if depth == len(shape) - 1:
            return level
        if not all(isinstance(part, list) and len(part) == shape[depth + 1] for part in level):
            break
        level = list(chain.from_iterable(level))
    raise TensorShape(f"input {name!r}: the lists in data are not nested as shape {list(shape)} says")
