"""Each format of a detector says the same of the same boxes; rotated boxes and masks against plain loops."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret import interpret
from lineside_inference.interpret.judgement import Judgement
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card

LABELS = ["scratch", "pit", "screw"]
DEFECTS = ["scratch", "pit"]
SIZE = np.array([64, 48, 64, 48])
GEOMETRY = Geometry(64, 48, 0, 6, 64, 36, 320, 180)  # a picture of 320 x 180, five times as large
HALF = Thresholds({}, 0.5)
Make = Callable[..., Card]

# x0, y0, x1, y1 in the input, score, label: what every format below says in its own way.
FOUND = np.array(
    [[8, 10, 16, 20, 0.75, 0], [30, 12, 50, 40, 0.625, 2], [40, 20, 60, 30, 0.875, 1], [2, 8, 6, 12, 0.125, 0]]
)
EXPECTED = [
    ("pit", 0.875, (200.0, 70.0, 300.0, 120.0)),
    ("scratch", 0.75, (40.0, 20.0, 80.0, 70.0)),
    ("screw", 0.625, (150.0, 30.0, 250.0, 170.0)),
]


def told(judged: Judgement) -> list[tuple[str, float, tuple[float, ...] | None]]:
    return [(one.label, one.confidence, one.box) for one in judged.findings]


def columns(*parts: Any) -> NDArray[np.float64]:
    return np.column_stack(parts)


def centred(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]))


def one_hot(found: NDArray[np.float64]) -> NDArray[np.float64]:
    scores = np.zeros((len(found), 3))
    scores[np.arange(len(found)), found[:, 5].astype(int)] = found[:, 4]
    return scores


def every_format() -> dict[str, tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Return of each format the head's fields and the outputs."""
    boxes, score, label = FOUND[:, :4], FOUND[:, 4], FOUND[:, 5]
    zero, count = np.zeros(len(FOUND)), np.array([[len(FOUND)]], np.int32)
    unused = np.full((3, 4), 7.0)
    ended = columns(zero, label, score, boxes / SIZE)
    garbage = [[-1, 0, 0, 0, 0, 0, 0], [0, 0, 0.99, 0, 0, 1, 1]]  # a negative image ends the list
    efficient = {
        "y": np.concatenate((score, [0.99] * 3))[None],
        "boxes": np.vstack((boxes, unused))[None],
        "classes": np.concatenate((label, [-1] * 3)).astype(np.int32)[None],
        "count": count,
    }
    nms = {"format": "nms", "boxes": "boxes", "classes": "classes"}
    open_ended = {
        "y": score[None],
        "boxes": (boxes / SIZE)[None][..., [1, 0, 3, 2]],
        "classes": label[None].astype(np.float32),
    }
    return {
        "rtdetr": ({"format": "rtdetr"}, {"y": columns(centred(boxes) / SIZE, one_hot(FOUND))[None]}),
        "yolov7 end to end": (
            {"format": "rows", "columns": ["image", "box", "label", "score"]},
            {"y": columns(zero, boxes, label, score)},
        ),
        "detection output": (
            {"format": "rows", "columns": ["image", "label", "score", "box"], "coordinates": "normalised"},
            {"y": np.vstack((ended, garbage))[None, None]},
        ),
        "rows with more": (
            {"format": "rows", "columns": ["skip", "score", "box", "skip", "label"], "box": "cxcywh"},
            {"y": columns(zero + 9, score, centred(boxes), zero - 9, label)[None]},
        ),
        "efficient nms": (nms | {"count": "count"}, efficient),
        "tensorflow": (nms | {"box": "yxyx", "coordinates": "normalised"}, open_ended),
    }


@pytest.mark.parametrize("half", [False, True], ids=["FP32", "FP16"])
@pytest.mark.parametrize("name", list(every_format()))
def test_every_format_says_the_same(head_card: Make, name: str, *, half: bool) -> None:
    fields, outputs = every_format()[name]
    card = head_card({"name": "y", "head": "detection"} | fields, LABELS, DEFECTS)
    kind = np.float16 if half else np.float32
    given = {key: value if value.dtype.kind == "i" else value.astype(kind) for key, value in outputs.items()}
    judged = interpret(given, card, HALF, GEOMETRY)
    assert [(label, sure) for label, sure, _ in told(judged)] == [(label, sure) for label, sure, _ in EXPECTED]
    for (_, _, box), (_, _, expected) in zip(told(judged), EXPECTED, strict=True):
        assert box == pytest.approx(expected, abs=0.2 if half else 0.01)
    assert (judged.verdict, judged.scores["pit"]) == ("fail", 0.875)


@pytest.mark.parametrize(
    ("name", "output", "value", "said"),
    [
        ("rtdetr", "y", np.zeros((1, 5, 8)), r"has shape \[5, 8\], its card reads \[N, 7\] \(4 and 3 labels\)"),
        ("yolov7 end to end", "y", np.zeros((5, 6)), r"has shape \[5, 6\], its card reads \[N, 7\]"),
        ("yolov7 end to end", "y", np.array([[0, 1, 1, 2, 2, 3, 0.9]]), "has class 3, its card 3 labels"),
        ("efficient nms", "count", np.array([8]), "has 8 boxes, and 'y' room for 7"),
        ("efficient nms", "count", np.array([-1]), "has -1 boxes"),
        ("efficient nms", "count", np.array([1, 1]), "has 2 values, its card 1 number of boxes"),
        ("efficient nms", "boxes", np.zeros((6, 4)), r"has shape \[6, 4\], its card reads \[7, 4\]"),
        ("efficient nms", "classes", np.zeros(6), r"has shape \[6\], its card reads \[7\]"),
    ],
)
def test_what_the_card_does_not_say_is_named(
    head_card: Make, name: str, output: str, value: NDArray[Any], said: str
) -> None:
    fields, outputs = every_format()[name]
    card = head_card({"name": "y", "head": "detection"} | fields, LABELS, DEFECTS)
    with pytest.raises(EngineFailed, match=said):
        interpret(outputs | {output: value}, card, HALF, GEOMETRY)


def test_of_finished_boxes_only_those_that_are_filled_have_to_be_numbers(head_card: Make) -> None:
    fields, outputs = every_format()["efficient nms"]
    card = head_card({"name": "y", "head": "detection"} | fields, LABELS, DEFECTS)
    boxes = outputs["boxes"].copy()
    boxes[0, 5] = np.nan
    assert told(interpret(outputs | {"boxes": boxes}, card, HALF, GEOMETRY)) == EXPECTED
    boxes[0, 3] = np.nan
    with pytest.raises(OutputNotFinite):
        interpret(outputs | {"boxes": boxes}, card, HALF, GEOMETRY)
    none = interpret(outputs | {"count": np.array([0])}, card, HALF, GEOMETRY)
    assert (none.verdict, none.findings) == ("pass", ())


# --- rotated boxes


def corners_of(x: float, y: float, width: float, height: float, angle: float) -> list[complex]:
    """Corners of a rotated box, as complex numbers."""
    turn = complex(math.cos(angle), math.sin(angle))
    return [
        complex(x, y) + complex(a * width / 2, b * height / 2) * turn for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def alike(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """One less the Hellinger distance of two normal distributions, by the general formula of matrices."""

    def spread(box: NDArray[np.float64]) -> NDArray[np.float64]:
        turn = np.array([[math.cos(box[4]), -math.sin(box[4])], [math.sin(box[4]), math.cos(box[4])]])
        return turn @ np.diag(box[2:4] ** 2 / 12) @ turn.T

    first, second = spread(one), spread(other)
    mean, apart = (first + second) / 2, one[:2] - other[:2]
    distance = apart @ np.linalg.inv(mean) @ apart / 8 + 0.5 * math.log(
        np.linalg.det(mean) / math.sqrt(np.linalg.det(first) * np.linalg.det(second))
    )
    return 1 - math.sqrt(max(0.0, 1 - math.exp(-distance)))


def test_turned_boxes_are_filtered_and_shown_with_their_corners(head_card: Make) -> None:
    rng = np.random.default_rng(7)
    middles = rng.uniform((16, 16), (48, 34), (40, 2))
    turned = np.hstack((middles, rng.uniform(2, 14, (40, 2)), rng.uniform(-math.pi, math.pi, (40, 1))))
    turned[20:, :4] = turned[:20, :4] + rng.uniform(-1, 1, (20, 4)).clip(-0.9, 0.9)
    turned[20:, 4] = turned[:20, 4]
    scores = np.zeros((40, 3))
    kinds = np.tile(np.arange(20) % 3, 2)
    scores[np.arange(40), kinds] = np.round(rng.uniform(0.3, 1, 40), 4)
    kept: list[int] = []
    for index in np.argsort(-scores.max(axis=1)).tolist():
        if all(kinds[index] != kinds[one] or alike(turned[index], turned[one]) <= 0.45 for one in kept):
            kept.append(index)
    table = np.hstack((turned[:, :4], scores, turned[:, 4:])).T[None]
    card = head_card({"name": "y", "head": "detection", "format": "yolov8", "rotated": True}, LABELS, DEFECTS)
    judged = interpret({"y": table}, card, HALF, GEOMETRY)
    assert 10 <= len(kept) < 30
    assert [one.confidence for one in judged.findings] == [scores[index].max() for index in kept]
    for one, index in zip(judged.findings, kept, strict=True):
        expected = [((p.real) * 5, (p.imag - 6) * 5) for p in corners_of(*turned[index])]
        assert one.corners is not None
        assert np.array(one.corners) == pytest.approx(np.array(expected), abs=0.01)
        box = np.array((*np.min(expected, axis=0), *np.max(expected, axis=0)))
        assert one.box == pytest.approx(np.clip(box, 0, (320, 180) * 2), abs=0.01)


def test_turned_rows_of_an_end_to_end_model(head_card: Make) -> None:
    rows = np.array([[[20, 20, 10, 4, 0.75, 1, math.pi / 2], [0, 0, 0, 0, 0, 0, 0]]])
    head = {"name": "y", "head": "detection", "format": "rows", "columns": ["box", "score", "label", "angle"]}
    judged = interpret({"y": rows}, head_card(head, LABELS, DEFECTS), HALF, GEOMETRY)
    assert told(judged) == [("pit", 0.75, (90.0, 45.0, 110.0, 95.0))]
    assert judged.findings[0].corners == ((110.0, 45.0), (110.0, 95.0), (90.0, 95.0), (90.0, 45.0))


# --- masks of prototypes


def between(values: NDArray[np.float64], x: float, y: float) -> float:
    """A value between the middles of cells, the outermost ones beyond."""
    height, width = values.shape
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    top = values[y0, x0] * (1 - (x - x0)) + values[y0, x1] * (x - x0)
    low = values[y1, x0] * (1 - (x - x0)) + values[y1, x1] * (x - x0)
    return float(top * (1 - (y - y0)) + low * (y - y0))


def covered(prototypes: NDArray[np.float64], weights: NDArray[np.float64], box: NDArray[np.float64]) -> int:
    """How many of the input's pixels in a box are of the mask, one by one."""
    values = np.einsum("k,khw->hw", weights, prototypes)
    inside = [
        between(values, (x + 0.5) / 4, (y + 0.5) / 4) > 0
        for y in range(48)
        for x in range(64)
        if box[0] <= x + 0.5 <= box[2] and box[1] <= y + 0.5 <= box[3]
    ]
    return sum(inside)


def seg(form: str, boxes: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    if form == "yolov8":
        return np.hstack((centred(boxes), one_hot(FOUND), weights)).T[None]
    if form == "yolov5":
        return np.hstack((centred(boxes), np.ones((len(boxes), 1)), one_hot(FOUND), weights))[None]
    return np.hstack((boxes, FOUND[:, 4:], weights))[None]


@pytest.mark.parametrize("form", ["yolov8", "yolov5", "rows"])
def test_a_mask_says_how_much_of_the_picture_is_covered(head_card: Make, form: str) -> None:
    rng = np.random.default_rng(5)
    prototypes, weights = rng.normal(0, 1, (6, 12, 16)), rng.normal(0, 1, (len(FOUND), 6))
    head = {"name": "y", "head": "detection", "format": form, "prototypes": "p"}
    head |= {"columns": ["box", "score", "label"]} if form == "rows" else {}
    card = head_card(head, LABELS, DEFECTS)
    outputs = {"y": seg(form, FOUND[:, :4], weights), "p": prototypes[None]}
    judged = interpret(outputs, card, HALF, GEOMETRY)
    assert told(judged) == EXPECTED
    for one, index in zip(judged.findings, (2, 0, 1), strict=True):
        pixels = covered(prototypes, weights[index], FOUND[index, :4]) * 25
        assert 0 < pixels < 25 * math.prod(FOUND[index, 2:4] - FOUND[index, :2])
        assert (one.pixels, one.area) == (pixels, round(pixels / (320 * 180), 6))


def test_a_mask_of_another_size_is_named(head_card: Make) -> None:
    head = {"name": "y", "head": "detection", "format": "yolov8", "prototypes": "p"}
    card = head_card(head, LABELS, DEFECTS)
    outputs = {"y": seg("yolov8", FOUND[:, :4], np.ones((len(FOUND), 6))), "p": np.zeros((1, 5, 12, 16))}
    with pytest.raises(EngineFailed, match=r"its card reads \[12, N\] \(4 and 3 labels and 5 more\)"):
        interpret(outputs, card, HALF, GEOMETRY)
    with pytest.raises(EngineFailed, match=r"'p' .* did not come"):
        interpret({"y": outputs["y"]}, card, HALF, GEOMETRY)


# --- half precision everywhere


@pytest.mark.parametrize(
    ("head", "labels", "shape"),
    [
        ({"head": "classification"}, LABELS, (1, 3)),
        ({"head": "classification", "activation": "sigmoid"}, LABELS, (1, 3)),
        ({"head": "score"}, ["wear"], (1, 1)),
        ({"head": "segmentation"}, LABELS, (1, 3, 6, 8)),
        ({"head": "segmentation", "format": "masks"}, LABELS, (1, 3, 6, 8)),
        ({"head": "segmentation", "layout": "hwc"}, LABELS, (1, 6, 8, 3)),
        ({"head": "anomaly"}, ["wear"], (1, 1, 6, 8)),
        ({"head": "raw"}, [], (2, 3)),
    ],
)
def test_half_precision_says_the_same(
    head_card: Make, head: dict[str, Any], labels: list[str], shape: tuple[int, ...]
) -> None:
    card = head_card({"name": "y"} | head, labels)
    values = np.round(np.random.default_rng(2).normal(0, 2, shape) * 16).astype(np.float16) / np.float16(16)
    half = interpret({"y": values}, card, HALF, GEOMETRY)
    full = interpret({"y": values.astype(np.float32)}, card, HALF, GEOMETRY)
    assert half.verdict == full.verdict
    assert half.scores == pytest.approx(full.scores)
    assert half.findings == full.findings
