"""Whatever a model answers, a head gives a judgement that can be sent, or says what is wrong."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lineside.contract import Result, uuid7
from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret import interpret
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.dtypes import DTYPES

GEOMETRY = Geometry(64, 48, 0, 6, 64, 36, 320, 180)
HEADS: list[dict[str, Any]] = [
    {"head": "classification", "activation": "softmax"},
    {"head": "classification", "activation": "sigmoid"},
    {"head": "classification", "activation": "none", "nothing_found": "pass"},
    {"head": "score", "labels": ["a"]},
    {"head": "score", "labels": ["a"], "bands": [{"name": "any", "verdict": "pass"}]},
    {"head": "detection", "format": "yolov8"},
    {"head": "detection", "format": "yolov5", "activation": "sigmoid", "coordinates": "normalised"},
    {"head": "detection", "format": "xyxy6", "iou_threshold": 0.3, "box": "xywh"},
    {"head": "detection", "format": "detr", "boxes": "z", "background": "c"},
    {"head": "segmentation", "background": "c"},
    {"head": "segmentation", "activation": "none", "layout": "hwc"},
    {"head": "segmentation", "format": "masks", "min_area": 5},
    {"head": "segmentation", "format": "indices"},
    {"head": "anomaly", "labels": ["a"], "score": "z"},
    {"head": "anomaly", "labels": ["a"], "range": [-1, 1], "max_findings": 2},
    {"head": "raw"},
]
SHAPES = st.one_of(
    st.sampled_from([(3,), (1,), (7, 5), (5, 8), (5, 6), (5, 3), (5, 4), (3, 6, 8), (6, 8, 3), (6, 8), (0, 6), ()]),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9),
)


@st.composite
def answers(draw: st.DrawFn) -> np.ndarray:
    """Make an array of any shape and datatype, also with a batch dimension, with values small and extreme."""
    shape = draw(st.tuples(st.sampled_from([(), (1,)]), SHAPES).map(lambda pair: pair[0] + pair[1]))
    dtype = np.dtype(draw(st.sampled_from(sorted(DTYPES.values(), key=str))))
    if draw(st.booleans()):
        return draw(arrays.arrays(dtype, shape))
    plain = np.random.default_rng(draw(st.integers(0, 99))).uniform(0, 3, shape)
    return np.asarray(plain).astype(dtype)


@settings(max_examples=600, deadline=None)
@given(
    head=st.sampled_from(HEADS),
    output=answers(),
    other=answers(),
    threshold=st.sampled_from([0.0, 0.5, 3.0]),
    is_picture=st.booleans(),
)
def test_any_answer_is_judged_or_named(
    head_card: Callable[..., Card],
    *,
    head: dict[str, Any],
    output: np.ndarray,
    other: np.ndarray,
    threshold: float,
    is_picture: bool,
) -> None:
    card = head_card({"name": "y"} | head, ["a", "b", "c"], ["a", "b"])
    try:
        judged = interpret({"y": output, "z": other}, card, Thresholds({}, threshold), GEOMETRY if is_picture else None)
    except (EngineFailed, OutputNotFinite) as error:
        assert "'y'" in error.what or "'z'" in error.what  # noqa: PT017 - most answers are no error
        return
    result = Result(
        id=uuid7(),
        request_id=uuid7(),
        status="ok",
        verdict=judged.verdict,
        reason=judged.reason,
        findings=judged.findings,
        findings_omitted=judged.omitted,
        scores=judged.scores,
    )
    assert Result.model_validate_json(result.model_dump_json(by_alias=True)) == result
    assert len(judged.findings) <= 100
    assert list(judged.findings) == sorted(judged.findings, key=lambda one: -one.confidence)
