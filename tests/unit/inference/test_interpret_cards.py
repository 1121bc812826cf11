"""Cards of every head: what is valid, what is refused by name; bands, raw outputs and several heads."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.wire import Layout, batch_axes
from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.interpret import interpret, is_large
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card

BANDS = [
    {"name": "too small", "below": 9.9, "verdict": "fail"},
    {"name": "in tolerance", "below": 10.1, "verdict": "pass"},
    {"name": "to be measured again", "below": 10.2, "verdict": "unknown"},
    {"name": "too large", "verdict": "fail"},
]
Make = Callable[..., Card]
HALF = Thresholds({}, 0.5)


@pytest.mark.parametrize(
    ("value", "verdict", "reason"),
    [
        (9.0, "fail", "diameter 9 is too small (below 9.9)"),
        (9.9, "pass", "diameter 9.9 is in tolerance (9.9 to 10.1)"),
        (10.15, "unknown", "diameter 10.15 is to be measured again (10.1 to 10.2)"),
        (10.2, "fail", "diameter 10.2 is too large (from 10.2)"),
    ],
)
def test_bands_judge_a_number(head_card: Make, value: float, verdict: str, reason: str) -> None:
    card = head_card({"name": "y", "head": "score", "bands": BANDS}, ["diameter"])
    judged = interpret({"y": np.array([[value]])}, card, HALF)
    assert (judged.verdict, judged.reason, judged.scores) == (verdict, reason, {"diameter": value})
    assert [one.label for one in judged.findings] == (["diameter"] if verdict == "fail" else [])


def test_raw_outputs_are_shown_and_not_judged(head_card: Make) -> None:
    card = head_card({"name": "y", "head": "raw"}, [])
    judged = interpret({"y": np.array([[1, 2]], np.int64)}, card, HALF)
    assert (judged.verdict, judged.reason) == ("unknown", "raw output: y [1, 2] has no verdict")
    assert judged.scores == {"y[0]": 1, "y[1]": 2}
    large = interpret({"y": np.arange(1000, dtype=np.float32)}, card, HALF)
    assert large.scores == {"y.max": 999, "y.mean": 499.5, "y.min": 0}
    huge = interpret({"y": np.full(100, 1.7e308)}, card, HALF)
    assert all(np.isfinite(value) for value in huge.scores.values())
    assert interpret({"y": np.zeros((0, 4))}, card, HALF).scores == {}
    with pytest.raises(OutputNotFinite):
        interpret({"y": np.array([np.nan])}, card, HALF)


def test_only_defects_are_looked_for(head_card: Make) -> None:
    head = {"name": "y", "head": "classification", "activation": "none"}
    array = {"y": np.array([0.1, 0.2])}
    labels = ["scratch", "pit"]
    assert interpret(array, head_card(head, labels), HALF).verdict == "unknown"
    judged = interpret(array, head_card(head | {"nothing_found": "pass"}, labels), HALF)
    assert (judged.verdict, judged.reason) == ("pass", "no defect: pit 0.20 < 0.50")


def test_the_worst_of_several_heads_counts(head_card: Make) -> None:
    heads = [
        {"name": "a", "head": "classification", "activation": "none", "labels": ["good", "scratch"]},
        {"name": "b", "head": "score", "labels": ["wear"]},
        {"name": "c", "head": "raw"},
    ]
    card = head_card(heads, ["good", "scratch", "wear"], ["scratch", "wear"])

    def judge(good: float, scratch: float, wear: float) -> tuple[str, str]:
        arrays = {"a": np.array([good, scratch]), "b": np.array([wear]), "c": np.array([7.0])}
        judged = interpret(arrays, card, HALF)
        assert judged.scores == {"c[0]": 7.0, "good": good, "scratch": scratch, "wear": wear}
        return judged.verdict, judged.reason

    assert judge(0.9, 0.1, 0.2) == ("pass", "good 0.90 >= 0.50; wear 0.20 < 0.50")
    assert judge(0.9, 0.1, 0.8) == ("fail", "wear 0.80 >= 0.50")
    assert judge(0.4, 0.3, 0.2) == ("unknown", "nothing is certain: good 0.40 < 0.50")


def test_a_value_too_many_is_named(head_card: Make) -> None:
    card = head_card({"name": "y", "head": "anomaly", "kind": "score"}, ["anomaly"])
    with pytest.raises(EngineFailed, match="has 2 values, its card 1 score"):
        interpret({"y": np.zeros(2)}, card, HALF)


def test_large_outputs_are_known() -> None:
    assert not is_large({"y": np.zeros(1000)})
    assert is_large({"y": np.zeros((84, 8400), np.float32)})


def test_an_output_of_another_datatype_is_named(head_card: Make) -> None:
    card = head_card({"name": "y", "head": "raw", "datatype": "FP16"}, [])
    tensor = pb.ModelMetadataResponse.TensorMetadata
    given = tensor(name="x", datatype="FP32", shape=[-1, 3, 48, 64])
    fits = pb.ModelMetadataResponse(inputs=[given], outputs=[tensor(name="y", datatype="FP16", shape=[-1, 4])])
    other = pb.ModelMetadataResponse(inputs=[given], outputs=[tensor(name="y", datatype="FP32", shape=[-1, 4])])
    assert batch_axes(card, fits)
    with pytest.raises(EngineFailed, match="output 'y' of model 'surface-defect' is FP32 in Triton, FP16 in its card"):
        batch_axes(card, other)


@pytest.mark.parametrize(
    ("served", "fits"),
    [
        ([-1, 7, 8400], True),
        ([7, 8400], True),
        ([-1, -1, -1], True),
        ([-1, 8, 8400], False),
        ([7], False),
        ([2, 7, 9], False),
    ],
)
def test_an_output_of_another_shape_is_named_before_it_serves(
    head_card: Make, *, served: list[int], fits: bool
) -> None:
    card = head_card({"name": "y", "head": "detection", "format": "yolov8"}, ["a", "b", "c"])
    tensor = pb.ModelMetadataResponse.TensorMetadata
    metadata = pb.ModelMetadataResponse(
        inputs=[tensor(name="x", datatype="FP32", shape=[-1, 3, 48, 64])],
        outputs=[tensor(name="y", datatype="FP32", shape=served)],
    )
    if fits:
        assert batch_axes(card, metadata)
        return
    with pytest.raises(EngineFailed, match=r"in Triton, its card reads \[7, any\]"):
        batch_axes(card, metadata)


def test_outputs_of_known_size_get_room_in_the_slot(head_card: Make) -> None:
    heads = [
        {"name": "s", "head": "detection", "format": "detr", "boxes": "b", "shape": [300, 3], "datatype": "FP16"},
        {"name": "m", "head": "segmentation", "format": "indices"},
        {"name": "c", "head": "classification"},
    ]
    layout = Layout.of(head_card(heads, ["a", "b", "c"]))
    sizes = {place.name: place.size for place in layout.outputs}
    assert sizes == {"s": 300 * 3 * 2, "b": 300 * 4 * 8, "m": None, "c": 24}
    assert layout.size == layout.outputs[-1].at + 24
    assert all(place.at % 64 == 0 and place.at >= layout.input_bytes for place in layout.outputs)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"head": "detection"}, r"output\.detection\.format"),
        ({"head": "detection", "format": "detr"}, "boxes: must be given with format detr"),
        ({"head": "detection", "format": "yolov8", "boxes": "b"}, "boxes stands only with format detr or nms"),
        ({"head": "detection", "format": "detr", "boxes": "y"}, "tensor 'y' stands for two things"),
        ({"head": "detection", "format": "nms", "boxes": "b"}, "classes: must be given with format nms"),
        ({"head": "detection", "format": "rows"}, "columns: must be given with format rows"),
        ({"head": "detection", "format": "rows", "columns": ["box", "score"]}, "columns has label 0 times"),
        (
            {"head": "detection", "format": "rows", "columns": ["box", "score", "label", "box"]},
            "columns has box 2 times",
        ),
        ({"head": "detection", "format": "rows", "columns": ["box", "sure", "label"]}, r"columns\.1"),
        (
            {"head": "detection", "format": "detr", "boxes": "b", "prototypes": "p"},
            "prototypes stands only with format",
        ),
        ({"head": "detection", "format": "yolov5", "rotated": True}, "rotated stands only with format yolov8"),
        ({"head": "detection", "format": "yolov8", "rotated": True, "prototypes": "p"}, "has no prototypes"),
        ({"head": "detection", "format": "yolov8", "rotated": True, "box": "xyxy"}, "a rotated box is cxcywh"),
        ({"head": "detection", "format": "yolov8", "activation": "softmax"}, "format is yolov8"),
        ({"head": "detection", "format": "xyxy6", "activation": "sigmoid"}, "leave activation away"),
        ({"head": "detection", "format": "yolov8", "max_findings": 1001}, "max_findings"),
        ({"head": "detection", "format": "yolov8", "background": "c"}, "background names 'c'"),
        ({"head": "detection", "format": "yolov8", "background": "a"}, "background 'a' is a defect"),
        ({"head": "segmentation", "activation": "sigmoid"}, "format classes takes none or softmax"),
        ({"head": "segmentation", "labels": ["x"]}, "labels of a head names 'x'; labels are a, b"),
        ({"head": "anomaly"}, "labels has 2 names; head anomaly takes one"),
        ({"head": "anomaly", "labels": ["a"], "score": "y"}, "score is 'y', the tensor of the map"),
        ({"head": "anomaly", "labels": ["a"], "kind": "score", "score": "s"}, "stands only with kind map"),
        ({"head": "anomaly", "labels": ["a"], "range": [1, 1]}, "the first number must be the lower"),
        ({"head": "score", "labels": ["a"], "bands": BANDS[:2]}, "the last has none"),
        ({"head": "score", "labels": ["a"], "bands": [BANDS[1], BANDS[0], BANDS[3]]}, "below must rise"),
        ({"head": "detection", "format": "yolov8", "shape": [7, 50]}, r"is \[7, 50\]; .* reads \[6, any\]"),
        ({"head": "segmentation", "shape": [3, 8, 8]}, r"is \[3, 8, 8\]; .* reads \[2, any, any\]"),
        ({"head": "raw", "shape": [1 << 20, 1 << 10]}, "more than 2\\^27 values"),
        ({"head": "magic"}, "'magic' found using 'head' does not match"),
    ],
)
def test_a_wrong_head_is_named(head_card: Make, output: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        head_card({"name": "y"} | output, ["a", "b"], ["a"])


def test_one_output_or_several_but_not_both(make_card: Make) -> None:
    raw = {"name": "y", "head": "raw"}
    with pytest.raises(ValidationError, match="give either output"):
        make_card(outputs=[raw])
    with pytest.raises(ValidationError, match="give either output"):
        make_card(output=None)
    with pytest.raises(ValidationError, match="labels: must be given with head classification"):
        make_card(labels=[], defects=[], thresholds={})


@pytest.mark.parametrize(
    ("output", "labels", "thresholds", "said"),
    [
        ({"head": "classification"}, ["good", "scratch"], {"scratch": 60}, "'scratch' from 0 to 1. For 60 % give 0.6"),
        ({"head": "detection", "format": "yolov8"}, ["scratch"], {"default": 1.01}, r"thresholds\.default: 1\.01 is"),
        ({"head": "segmentation"}, ["nothing", "pit"], {"pit": 250}, "'pit' from 0 to 1. Give at most 1"),
        (
            {"head": "anomaly", "range": [0, 90]},
            ["anomaly"],
            {"anomaly": 45},
            "thresholds.anomaly: 45 is never reached",
        ),
    ],
)
def test_a_threshold_that_no_score_reaches_is_refused(
    head_card: Make, output: dict[str, Any], labels: list[str], thresholds: dict[str, float], said: str
) -> None:
    card = head_card({"name": "y"} | output, labels)
    with pytest.raises(ValidationError, match=said):
        Card.model_validate(card.model_dump(by_alias=True) | {"thresholds": thresholds})
    Card.model_validate(card.model_dump(by_alias=True) | {"thresholds": dict.fromkeys(thresholds, 1.0)})


@pytest.mark.parametrize("output", [{"head": "score"}, {"head": "anomaly"}, {"head": "anomaly", "kind": "score"}])
def test_scores_without_an_end_may_have_any_threshold(head_card: Make, output: dict[str, Any]) -> None:
    card = head_card({"name": "y"} | output, ["wear"])
    for thresholds in ({"wear": 60.0}, {"default": 2.41}):
        Card.model_validate(card.model_dump(by_alias=True) | {"thresholds": thresholds})


def test_a_default_above_1_needs_every_share_named(head_card: Make) -> None:
    heads = [
        {"name": "a", "head": "classification", "labels": ["good", "scratch"]},
        {"name": "b", "head": "score", "labels": ["wear"]},
    ]
    card = head_card(heads, ["good", "scratch", "wear"])
    assert card.out_of_reach({"wear": 9}) == []
    assert card.out_of_reach({"default": 9, "good": 0.5, "scratch": 0.6}) == []
    [said] = card.out_of_reach({"default": 9, "good": 0.5})
    assert "'scratch' from 0 to 1" in said
