"""Typed contents: the bytes of a tensor whose values stand in the message, in the field that its datatype has."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from lineside_inference.dataplane.datatypes import BYTES
from lineside_inference.errors import TensorDatatype, TensorValues
from lineside_inference.models.dtypes import DTYPES

_LENGTH = 4
FIELDS: Mapping[str, tuple[str, type[np.generic]]] = {
    "BOOL": ("bool_contents", np.bool_),
    "INT8": ("int_contents", np.int32),
    "INT16": ("int_contents", np.int32),
    "INT32": ("int_contents", np.int32),
    "INT64": ("int64_contents", np.int64),
    "UINT8": ("uint_contents", np.uint32),
    "UINT16": ("uint_contents", np.uint32),
    "UINT32": ("uint_contents", np.uint32),
    "UINT64": ("uint64_contents", np.uint64),
    "FP32": ("fp32_contents", np.float32),
    "FP64": ("fp64_contents", np.float64),
    BYTES: ("bytes_contents", np.bytes_),
}
"""The field of each datatype, and what its values are in the message; FP16 and BF16 have none."""


def count(contents: Any) -> int:
    """Return how many values there are, in all fields."""
    return sum(len(values) for _field, values in contents.ListFields())


def pack(name: str, datatype: str, contents: Any) -> bytes:
    """Return the bytes of a tensor's contents, whatever its shape; raises TensorDatatype or TensorValues."""
    field, wide = FIELDS.get(datatype, ("", np.bytes_))
    if not field:
        raise TensorDatatype(
            f"input {name!r:.100} is {datatype!r:.60} without raw_input_contents",
            remedy=f"Contents have a field for {', '.join(FIELDS)}; send others in raw_input_contents",
        )
    for given, _values in contents.ListFields():
        if given.name != field:
            raise TensorValues(
                f"input {name!r:.100} has {given.name}", remedy=f"The values of {datatype} stand in {field}"
            )
    values = getattr(contents, field)
    if datatype == BYTES:
        return b"".join(part for value in values for part in (len(value).to_bytes(_LENGTH, "little"), value))
    found = np.fromiter(values, wide, len(values))
    kind = np.dtype(DTYPES[datatype])
    if kind.itemsize < found.dtype.itemsize and len(found):
        bounds = np.iinfo(kind)
        if found.min() < bounds.min or found.max() > bounds.max:
            raise TensorValues(
                f"input {name!r:.100} has a value out of its range",
                remedy=f"{datatype} takes {bounds.min} to {bounds.max}",
            )
    return found.astype(kind, copy=False).tobytes()
