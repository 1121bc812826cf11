"""The output formats of detectors, each read into boxes, labels and scores of one form."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.interpret.judgement import DIGITS
from lineside_inference.interpret.outputs import Floats, Outputs, sigmoid, softmax
from lineside_inference.models.detection import Detection

_SLACK = 10.0**-DIGITS
_BOX = 4
_OBJECTNESS = 1


@dataclass(frozen=True)
class Candidates:
    """What a format is read into: N boxes as they stand in the output, and the candidates: box, label, score each.

    `best` is every label's highest score. `extra` is N x any: an angle, or the coefficients of a mask.
    """

    numbers: NDArray[np.floating]
    box: NDArray[np.intp]
    label: NDArray[np.intp]
    score: NDArray[np.float64]
    best: NDArray[np.floating]
    extra: NDArray[np.floating]


def read(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> Candidates:
    """Return the candidates that reach the floor of their label; raises EngineFailed for what the card does not say."""
    if head.format == "nms":
        return _read_nms(outputs, head, labels, floors)
    if head.format in {"xyxy6", "rows"}:
        return _read_rows(outputs, head, labels, floors)
    if head.format == "detr":
        return _read_pair(outputs, head, labels, floors)
    return _read_table(outputs, head, labels, floors)


def _read_table(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> Candidates:
    """Read boxes with a score for each label: yolov5 and rtdetr row by row, yolov8 column by column."""
    before = _BOX + (_OBJECTNESS if head.format == "yolov5" else 0)
    after = int(head.rotated) + _coefficients(outputs, head)
    width = before + labels + after
    is_planar = head.format == "yolov8"
    meaning = f"[{width}, N]" if is_planar else f"[N, {width}]"
    rows = outputs.shaped(head.name, 2, meaning)
    table = rows if is_planar else rows.T
    if len(table) != width:
        ends = f" and {after} more" if after else ""
        raise outputs.unlike(head.name, rows.shape, f"{meaning} ({before} and {labels} labels{ends})")
    scores = _activated(table[_BOX : before + labels], head)
    if before > _BOX:
        scores = scores[1:] * scores[:1]
    return _above(table[:_BOX].T, scores.T, floors, table[before + labels :].T)


def _read_pair(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> Candidates:
    name = str(head.boxes)
    rows = outputs.shaped(head.name, 2, f"[N, {labels}]")
    boxes = outputs.shaped(name, 2, "[N, 4]")
    if rows.shape[1] != labels:
        raise outputs.unlike(head.name, rows.shape, f"[N, {labels}]")
    if boxes.shape != (len(rows), _BOX):
        raise outputs.unlike(name, boxes.shape, f"[{len(rows)}, 4]")
    return _above(boxes, _activated(rows.T, head).T, floors, boxes[:, _BOX:])


def _read_nms(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> Candidates:
    """Read finished boxes in tensors of their own, of which the first `count` are filled."""
    boxes, classes = str(head.boxes), str(head.classes)
    room = outputs.raw(head.name).size
    filled = room if head.count is None else int(outputs.flat(head.count, 1, "number of boxes")[0])
    if not 0 <= filled <= room:
        raise outputs.strange(str(head.count), f"{filled} boxes, and {head.name!r} room for {room}")
    table = outputs.raw(boxes)
    if table.size != room * _BOX or table.shape[-1:] != (_BOX,):
        raise outputs.unlike(boxes, table.shape, f"[{room}, 4]")
    if (numbers := outputs.raw(classes)).size != room:
        raise outputs.unlike(classes, numbers.shape, f"[{room}]")
    arrays = {
        boxes: table.reshape(-1, _BOX),
        classes: numbers.reshape(-1),
        head.name: outputs.raw(head.name).reshape(-1),
    }
    given = Outputs(outputs.model, {name: array[:filled] for name, array in arrays.items()})  # the rest is anything
    score = given.finite(head.name).astype(np.float64)
    rows = given.finite(boxes)
    return _finished(outputs, classes, rows, given.finite(classes), score, labels, floors, rows[:, _BOX:])


def _read_rows(outputs: Outputs, head: Detection, labels: int, floors: NDArray[np.float64]) -> Candidates:
    """Read finished boxes whose numbers stand in one row each."""
    rows = outputs.finite(head.name)
    places: dict[str, int] = {}
    width = 0
    for column in head.row:
        places[column] = width
        width += _BOX if column == "box" else 1
    whole = width + _coefficients(outputs, head)
    if rows.ndim < 2 or rows.shape[-1] != whole or rows.size != rows.shape[-2] * whole:  # noqa: PLR2004 - rows and columns
        raise outputs.unlike(head.name, rows.shape, f"[N, {whole}]")
    rows = rows.reshape(-1, whole)
    if (image := places.get("image")) is not None:
        ended = np.flatnonzero(rows[:, image] < 0)
        rows = rows[: ended[0]] if ended.size else rows
    extra = rows[:, width:]
    if (angle := places.get("angle")) is not None:
        extra = rows[:, angle : angle + 1]
    at = places["box"]
    number, score = rows[:, places["label"]], rows[:, places["score"]].astype(np.float64)
    return _finished(outputs, head.name, rows[:, at : at + _BOX], number, score, labels, floors, extra)


def _finished(
    outputs: Outputs,
    name: str,
    boxes: NDArray[np.floating],
    number: NDArray[np.floating],
    score: NDArray[np.float64],
    labels: int,
    floors: NDArray[np.float64],
    extra: NDArray[np.floating],
) -> Candidates:
    """Return boxes that have one label and one score each; `name` is the tensor of the labels' numbers."""
    # Unused rows are filled with zeros or with class -1: only what is a candidate has to be right.
    box = np.flatnonzero(score >= floors.min() - _SLACK)
    label = number[box]
    wrong = (label < 0) | (label >= labels) | (label != np.floor(label))
    if wrong.any():
        raise outputs.strange(name, f"class {label[wrong][0]:g}, its card {labels} labels")
    chosen: NDArray[np.intp] = label.astype(np.intp)
    best = np.zeros(labels)
    np.maximum.at(best, chosen, score[box])
    return Candidates(boxes, box, chosen, score[box], best, extra)


def _coefficients(outputs: Outputs, head: Detection) -> int:
    return 0 if head.prototypes is None else len(outputs.shaped(head.prototypes, 3, "[K, height, width]"))


def _activated(scores: Floats, head: Detection) -> Floats:
    """Return finished scores, of which the labels are the first axis."""
    activation = head.activation or ("softmax" if head.format == "detr" else "none")
    if activation == "none":
        return scores
    activated: Floats = sigmoid(scores) if activation == "sigmoid" else softmax(scores, 0)
    return activated


def _above(
    numbers: NDArray[np.floating], scores: Floats, floors: NDArray[np.float64], extra: NDArray[np.floating]
) -> Candidates:
    """Return the candidates of a table of scores, N x labels."""
    least: NDArray[Any] = (floors - _SLACK).astype(scores.dtype)  # compared as they are, not widened
    box, label = np.nonzero(np.greater_equal(scores, least))
    return Candidates(numbers, box, label, scores[box, label].astype(np.float64), scores.max(axis=0), extra)
