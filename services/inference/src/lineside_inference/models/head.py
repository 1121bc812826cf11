"""What the heads of a card share: the tensors that they name, with their sizes and the room that they need.

A tensor whose room is known before the model runs (`shape` in the card, or as many values as there are labels) is
written into shared memory by Triton; any other comes in the answer, in bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lineside.contract import Datatype
from lineside.described import Described

MAX_FINDINGS = 1000
"""The most that `max_findings` may allow."""

Label = Annotated[str, Field(min_length=1, max_length=128)]
TensorName = Annotated[str, Field(min_length=1, max_length=256)]
Share = Annotated[float, Field(ge=0, le=1)]

Sizes = tuple[int | None, ...]

ITEM_BYTES: dict[str, int] = {
    "BOOL": 1,
    "UINT8": 1,
    "UINT16": 2,
    "UINT32": 4,
    "UINT64": 8,
    "INT8": 1,
    "INT16": 2,
    "INT32": 4,
    "INT64": 8,
    "FP16": 2,
    "FP32": 4,
    "FP64": 8,
}
"""Of one value. By hand, since a card is read by commands too, whose start would be half numpy's."""
WIDEST = max(ITEM_BYTES.values())
"""Bytes of the widest datatype: the room of a value whose datatype the card leaves open."""


def describe(sizes: Sizes | None) -> str:
    """Return sizes for people: `[84, any]`."""
    return f"[{', '.join('any' if size is None else str(size) for size in sizes or ())}]"


def unlike(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names; raises ValueError where one stands twice."""
    if len(set(names)) != len(names):
        raise ValueError("the same name stands twice")
    return names


class CardPart(Described, BaseModel):
    """Base of every part of a card: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class OutputTensor:
    """One tensor of the model's answer; `room` is its bytes, None where only the answer tells.

    `sizes` are those of its last axes, a None for any; None where the head reads any shape.
    """

    name: str
    room: int | None = None
    datatype: str | None = None
    sizes: Sizes | None = None

    def takes(self, shape: Sequence[int]) -> bool:
        """Whether the head can read this shape, with or without a batch dimension; -1 is a size not known yet."""
        if self.sizes is None:
            return True
        extra = len(shape) - len(self.sizes)
        if extra < 0 or any(size not in {-1, 1} for size in shape[:extra]):
            return False
        pairs = zip(shape[extra:], self.sizes, strict=True)
        return all(wanted is None or size in {-1, wanted} for size, wanted in pairs)


class CardHead(CardPart):
    """What all heads share."""

    name: TensorName
    """The output tensor that the head reads."""
    labels: Annotated[tuple[Label, ...], Field(min_length=1), AfterValidator(unlike)] | None = None
    """The labels of this head, in the order of its output; all of the card's where absent."""
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=16)] | None = None
    """The tensor's shape without the batch dimension, where it is always the same: it then comes by shared memory."""
    datatype: Datatype | None = None
    """The tensor's datatype, checked against Triton; with `shape`, FP32 where absent."""

    takes_one_label: ClassVar[bool] = False

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the tensors that this head reads, for a card of so many labels."""
        return (self._tensor(self.name, self.shape, self.sizes(labels)),)

    def sizes(self, labels: int) -> Sizes | None:  # noqa: ARG002 - for the heads that have some
        """Return the sizes of the last axes of the tensor `name`, None for any; None where every shape is read."""
        return None

    def excluded(self) -> str | None:
        """Return the label that stands for nothing, if any."""
        return None

    @property
    def ends_at_one(self) -> bool:
        """Whether no score of it is above 1, so that a higher threshold would never be reached."""
        return True

    def _tensor(self, name: str, shape: tuple[int, ...] | None, sizes: Sizes | None) -> OutputTensor:
        if shape is None:
            return OutputTensor(name, None, self.datatype, sizes)
        datatype = self.datatype or "FP32"
        return OutputTensor(name, math.prod(shape) * ITEM_BYTES[datatype], datatype, sizes)

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if self.shape is not None and math.prod(self.shape) > 2**27:
            raise ValueError(f"shape {list(self.shape)} has more than 2^27 values")
        return self
