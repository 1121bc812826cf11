"""A raw binary request: the whole body is the model's one input, whose shape follows from its size.

Triton's extension of binary data: `Inference-Header-Content-Length: 0`. The model has one input, with at most one
dimension of unknown length, or of BYTES with one element; where it takes batches, the batch is one. Outputs are binary.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.datatypes import BYTES, ITEM_BYTES
from lineside_inference.dataplane.infer_request import Input
from lineside_inference.errors import TensorShape

_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Raw:
    """The one input of a model; -1 in its shape is a length that the body's size says."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, metadata: Mapping[str, Any], config: Mapping[str, Any]) -> Self:
        """Read it from what Triton says of a model; raises Problem 400 where the size of a body cannot say the rest."""
        inputs = metadata["inputs"]
        if len(inputs) != 1:
            raise _impossible(f"the model has {len(inputs)} inputs, and a raw request brings one")
        given = inputs[0]
        shape = list(map(int, given["shape"]))
        if config["max_batch_size"] > 0:
            shape[:1] = [1]
        if given["datatype"] == BYTES:
            if math.prod(abs(length) for length in shape) != 1:
                raise _impossible(f"input {given['name']!r} is BYTES {shape}, and a raw request brings one element")
            shape = [1] * len(shape)
        elif shape.count(-1) > 1:
            raise _impossible(f"input {given['name']!r} has more than one dimension of unknown length: {shape}")
        return cls(given["name"], given["datatype"], tuple(shape))

    def input(self, body: bytearray) -> Input:
        """Return the input that this body is; raises TensorShape where it is none."""
        if self.datatype == BYTES:
            return Input(self.name, BYTES, self.shape, {}, size=_LENGTH + len(body))
        known = ITEM_BYTES[self.datatype] * math.prod(length for length in self.shape if length >= 0)
        is_open = -1 in self.shape
        if not known or len(body) % known or (len(body) != known and not (is_open and body)):
            needed = f"{known} or several times that" if is_open else str(known)
            raise TensorShape(
                f"input {self.name!r} has {len(body)} bytes",
                remedy=f"{self.datatype} {list(self.shape)} needs {needed}",
            )
        shape = tuple(len(body) // known if length < 0 else length for length in self.shape)
        return Input(self.name, self.datatype, shape, {}, size=len(body))

    def bytes(self, body: bytearray) -> "bytes | bytearray":
        """Return the body as Triton takes it: an element of BYTES has its length before it."""
        return len(body).to_bytes(_LENGTH, "little") + body if self.datatype == BYTES else body


def _impossible(what: str) -> Problem:
    return Problem(400, "v2-request-invalid", f"{what}: send the JSON header, and its length in bytes")
