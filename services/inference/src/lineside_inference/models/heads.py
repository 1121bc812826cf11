"""The heads of a card: one way of reading a model's output each, chosen by `head`.

A head names its tensors. A tensor whose room is known before the model runs (`shape` in the card, or as many values
as there are labels) is written into shared memory by Triton; any other comes in the answer, in bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lineside.contract import Datatype, Verdict

WIDEST = 8
"""Bytes of the widest datatype: the room of a value whose datatype the card leaves open."""
MOST_FINDINGS = 1000
"""The most that `max_findings` may allow."""

Label = Annotated[str, Field(min_length=1, max_length=128)]
TensorName = Annotated[str, Field(min_length=1, max_length=256)]
Share = Annotated[float, Field(ge=0, le=1)]

Sizes = tuple[int | None, ...]

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


def describe(sizes: Sizes | None) -> str:
    """Return sizes for people: `[84, any]`."""
    return f"[{', '.join('any' if size is None else str(size) for size in sizes or ())}]"


def unlike(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names; raises ValueError where one stands twice."""
    if len(set(names)) != len(names):
        raise ValueError("the same name stands twice")
    return names


class CardPart(BaseModel):
    """Base of every part of a card: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


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
        return OutputTensor(name, math.prod(shape) * np.dtype(DTYPES[datatype]).itemsize, datatype, sizes)

    @model_validator(mode="after")
    def _not_too_large(self) -> Self:
        if self.shape is not None and math.prod(self.shape) > 2**27:
            raise ValueError(f"shape {list(self.shape)} has more than 2^27 values")
        return self


class Classification(CardHead):
    """One score for each label, of the whole part."""

    head: Literal["classification"]
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """softmax: logits, one label is right; sigmoid: logits, each label for itself; none: probabilities."""
    nothing_found: Literal["unknown", "pass"] = "unknown"
    """The verdict where no defect and no other label reaches its threshold; pass: only defects are looked for."""

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the one tensor; its room is known by the labels."""
        if self.shape is not None:
            return super().tensors(labels)
        return (OutputTensor(self.name, labels * WIDEST, self.datatype),)


class Band(CardPart):
    """A range of a score with a name and a verdict, from the band before it to `below`."""

    name: Label
    """What it is called in the reason."""
    below: float | None = None
    """Its end, not part of it; absent in the last band."""
    verdict: Verdict
    """What it means for the part."""


class Score(CardHead):
    """One number for the whole part: an anomaly score, a measured size, a remaining life."""

    head: Literal["score"]
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=64)] | None = None
    """Ranges with verdicts, rising; in place of the threshold, above which a part fails."""

    takes_one_label: ClassVar[bool] = True

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the one tensor, of one value."""
        del labels
        return (OutputTensor(self.name, WIDEST, self.datatype),)

    @property
    def ends_at_one(self) -> bool:
        """A number has no end of its own."""
        return False

    @model_validator(mode="after")
    def _bands_rise(self) -> Self:
        ends = [band.below for band in self.bands or ()]
        inner = [end for end in ends[:-1] if end is not None]
        if ends and (ends[-1] is not None or len(inner) != len(ends) - 1):
            raise ValueError("every band but the last has below, the last has none")
        if any(left >= right for left, right in pairwise(inner)):
            raise ValueError(f"below must rise from band to band; it is {inner}")
        return self


class Detection(CardHead):
    """Boxes with a label and a confidence each."""

    head: Literal["detection"]
    format: Literal["yolov5", "yolov8", "xyxy6", "detr"]
    """yolov5: [N, 5 + labels], box, objectness, classes; yolov8: [4 + labels, N]; xyxy6: [N, 6], box, score, class;
    detr: scores [N, labels] here, and [N, 4] in the tensor `boxes`."""
    boxes: TensorName | None = None
    """Format detr: the tensor of the boxes."""
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """What the class scores still need; format detr: softmax where absent, else none."""
    box: Literal["cxcywh", "xyxy", "xywh"] | None = None
    """What the four numbers of a box are; xyxy in format xyxy6 and cxcywh in the others where absent."""
    coordinates: Literal["pixels", "normalised"] | None = None
    """Of the model's input, or shares of it; normalised in format detr and pixels in the others where absent."""
    score_threshold: Share = 0.25
    """What is below is no finding; a defect with a lower threshold in force is still found down to that."""
    iou_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of two boxes of one label that overlap by more (intersection over union), the surer stays. Where absent 0.45 in
    formats yolov5 and yolov8; the others are not filtered."""
    max_findings: Annotated[int, Field(ge=1, le=MOST_FINDINGS)] = 100
    """The most findings of one part; those that fail it come first."""
    background: Label | None = None
    """The label of `no object`, which is never a finding."""

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the scores' tensor, and in format detr the boxes'."""
        first = super().tensors(labels)
        if self.boxes is None:
            return first
        return (*first, self._tensor(self.boxes, None if self.shape is None else (*self.shape[:-1], 4), (None, 4)))

    def sizes(self, labels: int) -> Sizes:
        """Return the sizes of the format."""
        return {
            "yolov5": (None, 5 + labels),
            "yolov8": (4 + labels, None),
            "xyxy6": (None, 6),
            "detr": (None, labels),
        }[self.format]

    def excluded(self) -> str | None:
        """Return the background."""
        return self.background

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.format == "detr") != (self.boxes is not None):
            raise ValueError("boxes: names the tensor of the boxes in format detr, and stands only there")
        if self.boxes == self.name:
            raise ValueError(f"boxes is {self.boxes!r}, the tensor of the scores")
        if self.activation == "softmax" and self.format != "detr":
            raise ValueError(f"activation softmax stands only with format detr; format is {self.format}")
        if self.activation is not None and self.format == "xyxy6":
            raise ValueError("format xyxy6 has finished scores: leave activation away")
        return self


class Segmentation(CardHead):
    """A label for every pixel, made into connected regions."""

    head: Literal["segmentation"]
    format: Literal["classes", "masks", "indices"] = "classes"
    """classes: a map for each label, the highest wins; masks: a map for each label, for itself; indices: one map of
    label numbers."""
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """Where absent softmax with classes, sigmoid with masks, none with indices."""
    layout: Literal["chw", "hwc"] = "chw"
    """Whether the labels are the first axis or the last."""
    background: Label | None = None
    """The label of `nothing here`, which is never a finding."""
    mask_threshold: Share = 0.5
    """Format masks: pixels at or above belong to the label; a defect with a lower threshold in force, down to that."""
    min_area: Annotated[int, Field(ge=1)] = 1
    """Smaller regions are left out, in pixels of the original image."""
    max_findings: Annotated[int, Field(ge=1, le=MOST_FINDINGS)] = 100
    """The most findings of one part; those that fail it come first."""

    def sizes(self, labels: int) -> Sizes:
        """Return height and width, and the labels where there is a map for each."""
        if self.format == "indices":
            return (None, None)
        return (labels, None, None) if self.layout == "chw" else (None, None, labels)

    def excluded(self) -> str | None:
        """Return the background."""
        return self.background

    @model_validator(mode="after")
    def _activation_of_format(self) -> Self:
        allowed = {"classes": {"softmax", "none"}, "masks": {"sigmoid", "none"}, "indices": {"none"}}[self.format]
        if self.activation is not None and self.activation not in allowed:
            raise ValueError(
                f"activation is {self.activation}; format {self.format} takes {' or '.join(sorted(allowed))}"
            )
        return self


class Anomaly(CardHead):
    """How unlike sound parts this one is: a map of it, one score, or both."""

    head: Literal["anomaly"]
    kind: Literal["map", "score"] = "map"
    """What the tensor `name` is: a map of the picture, or one score."""
    score: TensorName | None = None
    """With a map: the tensor of the score of the whole part; the map's highest value where absent."""
    range: tuple[float, float] | None = None
    """The raw values that become 0 and 1; what is beyond is cut. Values are taken as they are where absent."""
    min_area: Annotated[int, Field(ge=1)] = 1
    """Smaller regions are left out, in pixels of the original image."""
    max_findings: Annotated[int, Field(ge=1, le=MOST_FINDINGS)] = 100
    """The most findings of one part, highest first."""

    takes_one_label: ClassVar[bool] = True

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the map's tensor and the score's, whichever there are."""
        if self.kind == "score":
            return (OutputTensor(self.name, WIDEST, self.datatype),)
        own = super().tensors(labels)
        return own if self.score is None else (*own, OutputTensor(self.score, WIDEST))

    def sizes(self, labels: int) -> Sizes | None:
        """Return height and width of a map."""
        del labels
        return (None, None) if self.kind == "map" else None

    @property
    def ends_at_one(self) -> bool:
        """Only what is brought to 0 and 1 by `range`."""
        return self.range is not None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "score" and self.score is not None:
            raise ValueError("score: stands only with kind map")
        if self.score == self.name:
            raise ValueError(f"score is {self.score!r}, the tensor of the map")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range is {list(self.range)}: the first number must be the lower")
        return self


class Raw(CardHead):
    """Numbers without a meaning here: the verdict is unknown, the scores show them."""

    head: Literal["raw"]

    @property
    def ends_at_one(self) -> bool:
        """It knows no thresholds."""
        return False


Head = Annotated[Classification | Score | Detection | Segmentation | Anomaly | Raw, Field(discriminator="head")]
