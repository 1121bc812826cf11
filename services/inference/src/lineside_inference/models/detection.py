"""The detection head: the formats in which trainers and exporters give boxes, and what a card says of each."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside_inference.models.head import (
    MAX_FINDINGS,
    WIDEST,
    CardHead,
    Label,
    OutputTensor,
    Share,
    Sizes,
    TensorName,
)

Column = Literal["box", "score", "label", "image", "angle", "skip"]

_BOX = 4
_FILTERED = ("yolov5", "yolov8")
_FINISHED = ("xyxy6", "rows", "nms")
_XYXY6: tuple[Column, ...] = ("box", "score", "label")


class Detection(CardHead):
    """Boxes with a label and a confidence each."""

    head: Literal["detection"]
    format: Literal["yolov5", "yolov8", "xyxy6", "detr", "rtdetr", "rows", "nms"]
    """yolov5: [N, 5 + labels], box, objectness, classes; yolov8: [4 + labels, N]; rtdetr: [N, 4 + labels];
    xyxy6: [N, 6], box, score, class; rows: [N, any], see `columns`; detr: scores [N, labels] here, [N, 4] in the tensor
    `boxes`; nms: scores [N] here, [N, 4] in the tensor `boxes`, [N] in `classes`, and [1] in `count`."""
    boxes: TensorName | None = None
    """Formats detr and nms: the tensor of the boxes."""
    classes: TensorName | None = None
    """Format nms: the tensor of the labels' numbers."""
    count: TensorName | None = None
    """Format nms: the tensor that says how many of the N are filled; all of them where absent."""
    columns: tuple[Column, ...] | None = None
    """Format rows: what stands in a row, in this order. Once each box (four numbers), score and label, and where they
    are there image (the number in the batch, negative from the list's end on), angle (radians) and skip."""
    prototypes: TensorName | None = None
    """Formats yolov5, yolov8 and rows, for YOLO -seg: the tensor [K, height, width]; a box then ends in K numbers more
    that make its mask of it. The mask says how much of the picture a finding covers."""
    rotated: bool = False
    """Format yolov8, for YOLO -obb: a box then ends in an angle in radians that turns it about its middle."""
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """What the class scores still need; format detr: softmax where absent, else none."""
    box: Literal["cxcywh", "xyxy", "xywh", "yxyx"] | None = None
    """What the four numbers of a box are; where absent xyxy in formats xyxy6, rows and nms without an angle, else
    cxcywh."""
    coordinates: Literal["pixels", "normalised"] | None = None
    """Of the model's input, or shares of it; where absent normalised in formats detr and rtdetr, else pixels."""
    score_threshold: Share = 0.25
    """What is below is no finding; a defect with a lower threshold in force is still found down to that."""
    iou_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of two boxes of one label that overlap by more (intersection over union), the surer stays. Where absent 0.45 in
    formats yolov5 and yolov8; the others are not filtered."""
    max_findings: Annotated[int, Field(ge=1, le=MAX_FINDINGS)] = 100
    """The most findings of one part; those that fail it come first."""
    background: Label | None = None
    """The label of `no object`, which is never a finding."""

    @property
    def row(self) -> tuple[Column, ...]:
        """What stands in a row of formats xyxy6 and rows."""
        return self.columns or _XYXY6

    @property
    def is_rotated(self) -> bool:
        """Whether each box has an angle."""
        return self.rotated or "angle" in (self.columns or ())

    @property
    def box_form(self) -> Literal["cxcywh", "xyxy", "xywh", "yxyx"]:
        """What the four numbers of a box are."""
        return self.box or ("xyxy" if self.format in _FINISHED and not self.is_rotated else "cxcywh")

    @property
    def is_normalised(self) -> bool:
        """Whether boxes are shares of the input."""
        return (self.coordinates or ("normalised" if self.format in {"detr", "rtdetr"} else "pixels")) == "normalised"

    @property
    def iou(self) -> float | None:
        """By how much two boxes may overlap; None where they are not filtered."""
        return self.iou_threshold or (0.45 if self.format in _FILTERED else None)

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the tensor `name`, and those that stand beside it in formats detr and nms and with prototypes."""
        rows = None if self.shape is None else self.shape[: 1 if self.format == "nms" else -1]
        beside: list[tuple[str | None, tuple[int, ...] | None, Sizes]] = [
            (self.boxes, None if rows is None else (*rows, _BOX), (None, _BOX)),
            (self.classes, rows, (None,)),
            (self.count, (1,), ()),
            (self.prototypes, None, (None, None, None)),
        ]
        # Their datatypes may differ from that of `name`, half of it in half precision: any has room.
        others = (
            OutputTensor(name, None if shape is None else math.prod(shape) * WIDEST, None, sizes)
            for name, shape, sizes in beside
            if name is not None
        )
        return (*super().tensors(labels), *others)

    def sizes(self, labels: int) -> Sizes:
        """Return the sizes of the format; open where a box ends in as many numbers as there are prototypes."""
        width = sum(_BOX if column == "box" else 1 for column in self.row)
        sizes: Sizes = {
            "yolov5": (None, 5 + labels),
            "yolov8": (4 + labels + self.rotated, None),
            "rtdetr": (None, 4 + labels),
            "xyxy6": (None, width),
            "rows": (None, width),
            "detr": (None, labels),
            "nms": (None,),
        }[self.format]
        return sizes if self.prototypes is None else (None, None)

    def excluded(self) -> str | None:
        """Return the background."""
        return self.background

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for field, formats, must in (
            ("boxes", ("detr", "nms"), True),
            ("classes", ("nms",), True),
            ("columns", ("rows",), True),
            ("count", ("nms",), False),
            ("prototypes", ("yolov5", "yolov8", "rows"), False),
        ):
            given = getattr(self, field) is not None
            if given and self.format not in formats:
                raise ValueError(f"{field} stands only with format {' or '.join(formats)}; format is {self.format}")
            if must and not given and self.format in formats:
                raise ValueError(f"{field}: must be given with format {self.format}")
        named = [
            name for name in (self.name, self.boxes, self.classes, self.count, self.prototypes) if name is not None
        ]
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"tensor {twice[0]!r} stands for two things: each has a tensor of its own")
        if self.activation == "softmax" and self.format != "detr":
            raise ValueError(f"activation softmax stands only with format detr; format is {self.format}")
        if self.activation is not None and self.format in _FINISHED:
            raise ValueError(f"format {self.format} has finished scores: leave activation away")
        return self

    @model_validator(mode="after")
    def _boxes_fit(self) -> Self:
        for column in ("box", "score", "label"):
            if self.row.count(column) != 1:
                raise ValueError(f"columns has {column} {self.row.count(column)} times; it must stand there once")
        for column in ("image", "angle"):
            if self.row.count(column) > 1:
                raise ValueError(f"columns has {column} {self.row.count(column)} times; it may stand there once")
        if self.rotated and self.format != "yolov8":
            raise ValueError(f"rotated stands only with format yolov8; format is {self.format}")
        if self.is_rotated and (self.prototypes is not None or self.box_form != "cxcywh"):
            raise ValueError("a rotated box is cxcywh, and has no prototypes")
        return self
