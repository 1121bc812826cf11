"""Detection: from the output of a detector, in one of the common formats, to boxes on the original picture.

Every label of a box that reaches its threshold counts, not only the best one: a defect must not hide behind a surer
harmless label. What survives is filtered label by label, and boxes outside the picture are no findings.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding
from lineside_inference.geometry import Boxes, Geometry
from lineside_inference.interpret.boxes import corners, has_area, suppress
from lineside_inference.interpret.judgement import DIGITS, Judgement, by_defects
from lineside_inference.interpret.outputs import Floats, Outputs, sigmoid, softmax
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Detection
from lineside_inference.policy import Thresholds

MOST_CANDIDATES = 1000
"""The most boxes that are filtered against each other; those that fail the part, then the surest, come first."""
IOU_THRESHOLD = 0.45
"""Of formats that need filtering, where the card names none."""

_SLACK = 10.0**-DIGITS
_BOX_DIGITS = 2
_BOX = 4
_YOLO5_LABELS = 5
_XYXY6 = 6


@dataclass(frozen=True)
class _Scored:
    """What a format is read into: N boxes as they stand in the output, and the candidates: box, label, score each.

    `best` is every label's highest score.
    """

    numbers: NDArray[np.floating]
    box: NDArray[np.intp]
    label: NDArray[np.intp]
    score: NDArray[np.float64]
    best: NDArray[np.floating]


def detect(
    outputs: Outputs, head: Detection, card: Card, thresholds: Thresholds, geometry: Geometry | None
) -> Judgement:
    """Judge the detections: a defect at or above its threshold fails the part, nothing of the kind passes it.

    The scores are each label's highest. Without `geometry` the boxes are those of the model.
    """
    labels = card.labels_of(head)
    limits = np.array([thresholds.of(label) for label in labels])
    is_defect = np.array([label in card.defects for label in labels])
    floors = np.where(is_defect, np.minimum(limits, head.score_threshold), head.score_threshold)
    if head.background is not None:
        floors[labels.index(head.background)] = np.inf
    found = _read(outputs, head, len(labels), floors)
    confidence = np.round(found.score, DIGITS)
    fails = is_defect[found.label] & (confidence >= limits[found.label])
    # Twice, so that a flood is thinned before it is worked on, and boxes beside the picture take nobody's place.
    chosen = np.flatnonzero(confidence >= floors[found.label])
    chosen = chosen[_first(fails[chosen], confidence[chosen], MOST_CANDIDATES * 10)]
    label, confidence, fails = found.label[chosen], confidence[chosen], fails[chosen]
    boxes = _place(found.numbers[found.box[chosen]], head, geometry)
    shown = np.round(boxes if geometry is None else geometry.clip(boxes), _BOX_DIGITS)
    kept = np.flatnonzero(has_area(shown))
    kept = kept[_first(fails[kept], confidence[kept], MOST_CANDIDATES)]
    iou = head.iou_threshold or (IOU_THRESHOLD if head.format.startswith("yolo") else None)
    if iou is not None and kept.size > 1:
        kept = kept[suppress(boxes[kept], label[kept], iou)]
    kept, dropped = kept[: head.max_findings], max(0, kept.size - head.max_findings)
    findings = [
        Finding(label=labels[number], confidence=sure, box=(box[0], box[1], box[2], box[3]))
        for number, sure, box in zip(
            label[kept].tolist(),
            confidence[kept].tolist(),
            shown[kept].tolist(),
            strict=True,
        )
    ]
    scores = dict(zip(labels, np.round(found.best.astype(np.float64), DIGITS).tolist(), strict=True))
    if head.background is not None:
        del scores[head.background]
    return by_defects(findings, scores, card.defects, thresholds, most=head.max_findings, dropped=dropped)


def _place(numbers: NDArray[np.floating], head: Detection, geometry: Geometry | None) -> Boxes:
    boxes = corners(numbers, head.box or ("xyxy" if head.format == "xyxy6" else "cxcywh"))
    if geometry is None:
        return boxes
    if (head.coordinates or ("normalised" if head.format == "detr" else "pixels")) == "normalised":
        boxes = boxes * np.array((geometry.input_width, geometry.input_height) * 2)
    return geometry.to_picture(boxes)


def _first(fails: NDArray[np.bool_], confidence: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return the order of rank, at most `most`: what fails the part first, then the surest."""
    rank = confidence + np.where(fails, confidence.max(initial=0.0) + 1.0, 0.0)
    chosen = np.arange(rank.size) if rank.size <= most else np.sort(np.argpartition(-rank, most)[:most])
    return chosen[np.argsort(-rank[chosen], kind="stable")]


def _read(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> _Scored:
    if head.format == "xyxy6":
        return _read_finished(outputs, head, labels, floors)
    if head.format == "yolov8":
        rows = outputs.shaped(head.name, 2, f"[{_BOX + labels}, N]")
        if len(rows) != _BOX + labels:
            raise outputs.unlike(head.name, rows.shape, f"[{_BOX + labels}, N] (4 and {labels} labels)")
        return _above(rows[:_BOX].T, _activated(rows[_BOX:], head, axis=0), floors, axis=0)
    if head.format == "yolov5":
        rows = outputs.shaped(head.name, 2, f"[N, {_YOLO5_LABELS + labels}]")
        if rows.shape[1] != _YOLO5_LABELS + labels:
            raise outputs.unlike(head.name, rows.shape, f"[N, {_YOLO5_LABELS + labels}] (5 and {labels} labels)")
        sure = _activated(rows[:, _BOX:], head, axis=1)
        return _above(rows[:, :_BOX], sure[:, 1:] * sure[:, :1], floors, axis=1)
    return _read_pair(outputs, head, labels, floors)


def _read_pair(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> _Scored:
    name = str(head.boxes)
    rows = outputs.shaped(head.name, 2, f"[N, {labels}]")
    boxes = outputs.shaped(name, 2, "[N, 4]")
    if rows.shape[1] != labels:
        raise outputs.unlike(head.name, rows.shape, f"[N, {labels}]")
    if boxes.shape != (len(rows), _BOX):
        raise outputs.unlike(name, boxes.shape, f"[{len(rows)}, 4]")
    return _above(boxes, _activated(rows, head, axis=1), floors, axis=1)


def _read_finished(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> _Scored:
    rows = outputs.finite(head.name)
    if rows.ndim < 2 or rows.shape[-1] != _XYXY6 or rows.size != rows.shape[-2] * _XYXY6:  # noqa: PLR2004 - rows and columns
        raise outputs.unlike(head.name, rows.shape, "[N, 6]")
    rows = rows.reshape(-1, _XYXY6)
    score = rows[:, _BOX].astype(np.float64)
    # Unused rows are filled with zeros or with class -1: only what is a candidate has to be right.
    box = np.flatnonzero(score >= floors.min() - _SLACK)
    label = rows[box, 5]
    wrong = (label < 0) | (label >= labels) | (label != np.floor(label))
    if wrong.any():
        raise outputs.strange(head.name, f"class {label[wrong][0]:g}, its card {labels} labels")
    label = label.astype(np.intp)
    best = np.zeros(labels)
    np.maximum.at(best, label, score[box])
    return _Scored(rows[:, :_BOX], box, label, score[box], best)


def _activated(scores: Floats, head: Detection, *, axis: int) -> Floats:
    activation = head.activation or ("softmax" if head.format == "detr" else "none")
    if activation == "none":
        return scores
    activated: Floats = sigmoid(scores) if activation == "sigmoid" else softmax(scores, axis)
    return activated


def _above(numbers: NDArray[np.floating], scores: Floats, floors: NDArray[np.float64], *, axis: int) -> _Scored:
    """Return the candidates of a table of scores whose labels lie along `axis`."""
    least: NDArray[Any] = (floors - _SLACK).astype(scores.dtype)  # compared as they are, not widened
    above = np.nonzero(np.greater_equal(scores, least[:, None] if axis == 0 else least))
    label, box = (above[0], above[1]) if axis == 0 else (above[1], above[0])
    return _Scored(numbers, box, label, scores[above].astype(np.float64), scores.max(axis=1 - axis))
