"""One inference request of the Open Inference Protocol as values: what a client asks any model, without HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a client's own shared memory, `offset` and `size` in bytes.

    `name` is the region's as the client calls it, `in_triton` as Triton does.
    """

    name: str
    in_triton: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Input:
    """One input: `size` bytes follow in binary, or `data` has the values, or `region` says where they are."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Mapping[str, Scalar]
    size: int | None = None
    data: list[Any] | None = None
    region: Region | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output that was asked for."""

    name: str
    binary: bool
    parameters: Mapping[str, Scalar]
    region: Region | None = None


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class InferRequest:
    """One inference request without its binary part; `outputs` empty means all.

    Compared by identity: the same head sent again is the same value, by which what was made of it is found.
    """

    id: str
    parameters: Mapping[str, Scalar]
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    binary: bool

    def wants_binary(self, output: str) -> bool:
        """Whether an output goes out in binary."""
        return next((wanted.binary for wanted in self.outputs if wanted.name == output), self.binary)
