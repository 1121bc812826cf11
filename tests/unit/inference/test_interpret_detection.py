"""Detection against a reference that is written the slow and plain way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.contract import Finding
from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret import interpret
from lineside_inference.interpret.detection import MAX_CANDIDATES
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card

LABELS = ["scratch", "pit", "screw"]
DEFECTS = ["scratch", "pit"]
GEOMETRY = Geometry(64, 48, 0, 6, 64, 36, 320, 180)  # a picture of 320 x 180, five times as large
Make = Callable[..., Card]


def output(form: str, **fields: Any) -> dict[str, Any]:
    return {"name": "y", "head": "detection", "format": form} | fields


def shares(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes, in plain Python."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    inner = max(0.0, width) * max(0.0, height)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return inner / (sum(areas) - inner)


def reference(
    rows: list[tuple[tuple[float, ...], int, float]], iou: float, floor: Callable[[int], float]
) -> list[tuple[str, float, tuple[float, ...]]]:
    """Judge boxes of the picture one by one: rows are box, label, score."""
    kept: list[tuple[tuple[float, ...], int, float]] = []
    order = sorted(range(len(rows)), key=lambda n: (-round(rows[n][2], 6), n))
    for box, label, score in (rows[n] for n in order):
        shown = [round(min(max(v, 0), limit), 2) for v, limit in zip(box, (320, 180, 320, 180), strict=True)]
        if round(score, 6) < floor(label) or shown[2] <= shown[0] or shown[3] <= shown[1]:
            continue
        if all(label != other or shares(box, taken) <= iou for taken, other, _ in kept):
            kept.append((box, label, score))
    return [
        (
            LABELS[label],
            round(score, 6),
            tuple(round(min(max(v, 0), limit), 2) for v, limit in zip(box, (320, 180, 320, 180), strict=True)),
        )
        for box, label, score in kept
    ]


def told(findings: tuple[Finding, ...]) -> list[tuple[str, float, tuple[float, ...] | None]]:
    return [(one.label, one.confidence, one.box) for one in findings]


# Every score is another one, so that the order is one and only one.
BOXES = st.lists(
    st.tuples(st.integers(-10, 74), st.integers(-10, 58), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2)),
    max_size=40,
)


@settings(max_examples=200)
@given(boxes=BOXES, iou=st.sampled_from([0.2, 0.45, 0.7]), seed=st.integers(0, 99), form=st.integers(0, 3))
def test_every_format_agrees_with_the_reference(
    head_card: Make, boxes: list[tuple[int, ...]], iou: float, seed: int, form: int
) -> None:
    count = len(boxes)
    scores = (np.random.default_rng(seed).permutation(1000)[:count] + 1) / 1001
    table = np.zeros((count, 3))
    table[np.arange(count), [b[4] for b in boxes]] = scores
    centres = np.array([b[:4] for b in boxes], np.float64).reshape(-1, 4)
    near = np.hstack((centres[:, :2] - centres[:, 2:] / 2, centres[:, :2] + centres[:, 2:] / 2))
    name = ("yolov8", "yolov5", "xyxy6", "detr")[form]
    arrays = {
        "yolov8": {"y": np.hstack((centres, table)).T[None]},
        "yolov5": {"y": np.hstack((centres, np.ones((count, 1)), table))[None]},
        "xyxy6": {"y": np.hstack((near, scores[:, None], np.array([b[4] for b in boxes]).reshape(-1, 1)))[None]},
        "detr": {"y": table[None], "b": (centres / [64, 48, 64, 48])[None]},
    }[name]
    fields = {"boxes": "b", "activation": "none"} if name == "detr" else {}
    card = head_card(output(name, iou_threshold=iou, max_findings=1000, **fields), LABELS, DEFECTS)
    if count == 0 and name != "xyxy6":
        with pytest.raises(EngineFailed, match="its card reads"):
            interpret(arrays, card, Thresholds({}, 0.5), GEOMETRY)
        return
    judged = interpret(arrays, card, Thresholds({"pit": 0.1}, 0.5), GEOMETRY)
    rows = [
        (tuple((v - offset) * 5 for v, offset in zip(box, (0, 6, 0, 6), strict=True)), b[4], score)
        for box, b, score in zip(near.tolist(), boxes, scores.tolist(), strict=True)
    ]
    expected = reference(rows, iou, lambda label: 0.1 if label == 1 else 0.25)
    assert [one[:2] for one in told(judged.findings)] == [one[:2] for one in expected]
    for one, other in zip(judged.findings, expected, strict=True):
        assert one.box == pytest.approx(other[2], abs=0.011)
    fails = any(score >= (0.1 if label == "pit" else 0.5) for label, score, _ in expected if label in DEFECTS)
    assert judged.verdict == ("fail" if fails else "pass")


def test_nothing_found_passes(head_card: Make) -> None:
    judged = interpret({"y": np.zeros((1, 7, 20))}, head_card(output("yolov8"), LABELS), Thresholds({}, 0.5), GEOMETRY)
    assert (judged.verdict, judged.reason, judged.findings) == ("pass", "no defect found", ())
    assert judged.scores == {"scratch": 0.0, "pit": 0.0, "screw": 0.0}


def test_a_defect_below_its_threshold_is_a_finding_that_passes(head_card: Make) -> None:
    rows = np.array([[10, 10, 20, 20, 0.4, 0], [10, 10, 20, 20, 0.9, 2]])
    judged = interpret({"y": rows}, head_card(output("xyxy6"), LABELS, DEFECTS), Thresholds({}, 0.5), GEOMETRY)
    assert (judged.verdict, judged.reason) == ("pass", "no defect: scratch 0.40 < 0.50")
    assert [one.label for one in judged.findings] == ["screw", "scratch"]
    assert judged.scores == {"screw": 0.9, "scratch": 0.4, "pit": 0.0}


def test_a_defect_does_not_hide_behind_a_surer_harmless_label(head_card: Make) -> None:
    rows = np.array([[30.0, 20, 10, 10, 0.6, 0.0, 0.9]])
    judged = interpret({"y": rows.T}, head_card(output("yolov8"), LABELS, DEFECTS), Thresholds({}, 0.5), GEOMETRY)
    assert (judged.verdict, judged.reason) == ("fail", "scratch 0.60 >= 0.50")
    assert [one.label for one in judged.findings] == ["screw", "scratch"]


def test_an_operator_can_go_below_the_score_threshold(head_card: Make) -> None:
    card = head_card(output("xyxy6", score_threshold=0.3), LABELS, DEFECTS)
    rows = {"y": np.array([[10, 10, 20, 20, 0.1, 0], [10, 10, 20, 20, 0.1, 2]])}
    assert interpret(rows, card, Thresholds({}, 0.5), GEOMETRY).findings == ()
    judged = interpret(rows, card, Thresholds({"scratch": 0.1}, 0.5), GEOMETRY)
    assert (judged.verdict, [one.label for one in judged.findings]) == ("fail", ["scratch"])


def test_what_fails_the_part_is_kept_before_what_is_surer(head_card: Make) -> None:
    rows = np.array([[x, 10, x + 5, 20, 0.9, 2] for x in range(0, 60, 6)] + [[30, 20, 40, 30, 0.6, 0]])
    judged = interpret(
        {"y": rows}, head_card(output("xyxy6", max_findings=3), LABELS, DEFECTS), Thresholds({}, 0.5), GEOMETRY
    )
    assert [one.label for one in judged.findings] == ["screw", "screw", "scratch"]
    assert (judged.verdict, judged.omitted) == ("fail", 8)


@pytest.mark.parametrize(("iou", "left"), [(0.5, 2), (0.499, 1)])
def test_boxes_must_overlap_by_more_than_the_threshold(head_card: Make, iou: float, left: int) -> None:
    rows = np.array([[0, 10, 30, 20, 0.9, 0], [10, 10, 40, 20, 0.8, 0]])  # 200 of 400 square pixels in common
    card = head_card(output("xyxy6", iou_threshold=iou), LABELS, DEFECTS)
    assert len(interpret({"y": rows}, card, Thresholds({}, 0.5), GEOMETRY).findings) == left


def test_a_flood_of_boxes_is_bounded(head_card: Make) -> None:
    rng = np.random.default_rng(3)
    rows = np.zeros((7, 8400))
    rows[:4] = rng.uniform(1, 60, (4, 8400))
    rows[4:] = rng.uniform(0.3, 0.8, (3, 8400))
    rows[4, 17] = 0.95
    judged = interpret({"y": rows}, head_card(output("yolov8"), LABELS, DEFECTS), Thresholds({}, 0.9), GEOMETRY)
    assert judged.findings[0].label == "scratch"
    assert len(judged.findings) == 100
    assert judged.omitted < MAX_CANDIDATES
    assert judged.verdict == "fail"


def test_detr_softmax_leaves_the_background_out(head_card: Make) -> None:
    logits = np.log(np.array([[[0.7, 0.2, 0.1], [0.01, 0.01, 0.98]]]))
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 1, 1]]])
    card = head_card(output("detr", boxes="b", background="nothing"), ["scratch", "pit", "nothing"], ["scratch", "pit"])
    judged = interpret({"y": logits, "b": boxes}, card, Thresholds({}, 0.5), GEOMETRY)
    assert judged.scores == {"scratch": 0.7, "pit": 0.2}
    assert told(judged.findings) == [("scratch", 0.7, (120.0, 30.0, 200.0, 150.0))]


def test_unused_rows_of_an_end_to_end_model_are_no_findings(head_card: Make) -> None:
    rows = np.array([[[10, 10, 20, 20, 0.9, 1], [0, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0]]])
    judged = interpret({"y": rows}, head_card(output("xyxy6"), LABELS), Thresholds({}, 0.5), GEOMETRY)
    assert told(judged.findings) == [("pit", 0.9, (50.0, 20.0, 100.0, 70.0))]
    assert interpret({"y": np.zeros((1, 0, 6))}, head_card(output("xyxy6"), LABELS), Thresholds({}, 0.5)).findings == ()


def test_without_a_picture_the_boxes_are_the_models(head_card: Make) -> None:
    rows = np.array([[10, 10, 20, 20, 0.9, 1]])
    judged = interpret({"y": rows}, head_card(output("xyxy6"), LABELS), Thresholds({}, 0.5))
    assert judged.findings[0].box == (10, 10, 20, 20)


@pytest.mark.parametrize(
    ("form", "shape", "said"),
    [
        ("yolov8", (1, 8, 20), r"has shape \[8, 20\], its card reads \[7, N\] \(4 and 3 labels\)"),
        ("yolov8", (2, 7, 20), r"has shape \[2, 7, 20\]"),
        ("yolov5", (1, 20, 7), r"has shape \[20, 7\], its card reads \[N, 8\]"),
        ("xyxy6", (20, 7), r"has shape \[20, 7\], its card reads \[N, 6\]"),
        ("xyxy6", (2, 20, 6), r"has shape \[2, 20, 6\]"),
        ("xyxy6", (6,), r"has shape \[6\]"),
    ],
)
def test_another_shape_is_named(head_card: Make, form: str, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(EngineFailed, match=said):
        interpret({"y": np.zeros(shape)}, head_card(output(form), LABELS), Thresholds({}, 0.5))


def test_scores_and_boxes_must_belong_together(head_card: Make) -> None:
    card = head_card(output("detr", boxes="b"), LABELS)
    with pytest.raises(EngineFailed, match=r"'b' .* has shape \[4, 4\], its card reads \[5, 4\]"):
        interpret({"y": np.zeros((1, 5, 3)), "b": np.zeros((1, 4, 4))}, card, Thresholds({}, 0.5))
    with pytest.raises(EngineFailed, match="'b' of model 'surface-defect' did not come"):
        interpret({"y": np.zeros((1, 5, 3))}, card, Thresholds({}, 0.5))


@pytest.mark.parametrize("label", [3, -1, 0.5])
def test_a_strange_class_is_named(head_card: Make, label: float) -> None:
    rows = np.array([[1, 1, 2, 2, 0.9, label]])
    with pytest.raises(EngineFailed, match=rf"has class {label:g}, its card 3 labels"):
        interpret({"y": rows}, head_card(output("xyxy6"), LABELS), Thresholds({}, 0.5))


@given(
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
    place=st.integers(0, 139),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_what_is_not_finite_is_never_a_verdict(head_card: Make, value: float, place: int, dtype: Any) -> None:
    rows = np.zeros((7, 20), dtype)
    rows.reshape(-1)[place] = value
    with pytest.raises(OutputNotFinite):
        interpret({"y": rows}, head_card(output("yolov8"), LABELS), Thresholds({}, 0.5), GEOMETRY)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=42, max_size=42),
    st.sampled_from(["sigmoid", "none"]),
)
def test_any_finite_numbers_give_a_verdict(head_card: Make, values: list[float], activation: str) -> None:
    rows = np.array(values, np.float32).reshape(7, 6)
    card = head_card(output("yolov8", activation=activation), LABELS)
    judged = interpret({"y": rows}, card, Thresholds({}, 0.5), GEOMETRY)
    assert judged.verdict in {"pass", "fail"}
    for one in judged.findings:
        assert one.box is not None
        assert 0 <= one.box[0] <= one.box[2] <= 320
        assert 0 <= one.box[1] <= one.box[3] <= 180
