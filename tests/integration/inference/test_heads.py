"""Every head through a real Triton: models whose answer is exact, seen as boxes on the picture."""

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.constant_models import HEIGHT, SIDE, WIDTH, Outputs, write
from tests.support.triton_server import TritonServer, running_triton


def yolo() -> np.ndarray:
    """Return [N, 7]: centre, size, the labels' scores; two boxes of one scratch, one pit, many empty rows."""
    rows = np.zeros((50, 7), np.float32)
    rows[3] = [20, 20, 8, 8, 0, 0.75, 0]
    rows[4] = [20.5, 20, 8, 8, 0, 0.5, 0]  # the same scratch again
    rows[40] = [60, 12, 16, 16, 0, 0, 0.625]  # beyond the right edge and into the padding
    return rows


SCRATCH = {"label": "scratch", "confidence": 0.75, "box": [160, 80, 240, 160]}
PIT = {"label": "pit", "confidence": 0.625, "box": [520, 0, 640, 120]}


def pairs(rows: np.ndarray) -> Outputs:
    """Return rows as DETR gives them: logits, and boxes as shares of the input."""
    scores = rows[:, 4:].copy()
    scores[:, 0] = 1 - scores.sum(axis=1)
    logits = np.log(np.maximum(scores, 1e-7), dtype=np.float32)
    return {"logits": logits, "boxes": (rows[:, :4] / SIDE).astype(np.float32)}


def finished(rows: np.ndarray) -> np.ndarray:
    near, far = rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2
    label = rows[:, 4:].argmax(axis=1)
    found = np.column_stack((near, far, rows[:, 4:].max(axis=1), label)).astype(np.float32)
    return found[[3, 40, 0, 1]]


def detection(form: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "head": "detection", "format": form} | fields


def maps() -> np.ndarray:
    """Return [3, 32, 32], cells of 2 input pixels: a scratch of 4 x 2 cells with logit 8."""
    values = np.zeros((3, 32, 32), np.float32)
    values[0] = 4
    values[1, 10:12, 6:10] = 8
    return values


REGION = {"label": "scratch", "box": [120, 120, 200, 160], "pixels": 3200, "area": 0.010417}


def write_formats(folder: Path, rows: np.ndarray) -> None:
    """Write the same boxes in the formats of other exports, in half precision where that is usual."""
    boxes, zero = finished(rows), np.zeros((4, 1), np.float32)
    shares = rows / np.array([SIDE] * 4 + [1] * 3, np.float32)
    write(folder, "rtdetr", {"y": shares}, detection("rtdetr", "y", shape=[50, 7], iou_threshold=0.5), fixed=True)
    order = ["image", "box", "label", "score"]
    seven = np.hstack((zero, boxes[:, :4], boxes[:, 5:], boxes[:, 4:5]))
    write(folder, "seven", {"any_y": seven}, detection("rows", "any_y", columns=order), fixed=True)
    nms = {
        "scores": boxes[:, 4].astype(np.float16),
        "boxes": boxes[:, :4].astype(np.float16),
        "classes": boxes[:, 5].astype(np.int32),
        "count": np.array([2], np.int32),
    }
    head = detection("nms", "scores", boxes="boxes", classes="classes", count="count", shape=[4], datatype="FP16")
    write(folder, "nms", nms, head, datatype="UINT8", layout="hwc", fixed=True)
    masked = np.hstack((rows, np.ones((50, 2), np.float32)))
    prototypes = np.full((2, 16, 16), -1, np.float32)
    prototypes[:, :, :5] = 1  # the mask ends at column 20 of the input, between the middles of two cells
    seg = {"y": masked.T.copy(), "prototypes": prototypes}
    write(folder, "seg", seg, detection("yolov8", "y", prototypes="prototypes", shape=[9, 50]))
    turned = np.hstack((rows, np.full((50, 1), np.pi, np.float32)))
    write(folder, "obb", {"y": turned.T.copy()}, detection("yolov8", "y", rotated=True))
    one = {"labels": ["scratch"], "defects": ["scratch"]}
    mean = {"y": np.zeros(1, np.float32)}
    score = {"name": "y", "head": "score"}
    write(folder, "mean", mean, score, datatype="UINT8", layout="hwc", gain=1.0, **one)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    rows = yolo()
    objects = np.hstack((rows[:, :4], np.ones((50, 1), np.float32), rows[:, 4:]))
    write(folder, "yolov8", {"any_y": rows.T.copy()}, detection("yolov8", "any_y"))
    write(folder, "yolov8-shared", {"y": rows.T.copy()}, detection("yolov8", "y", shape=[7, 50]))
    write(folder, "yolov5", {"y": objects.astype(np.float16)}, detection("yolov5", "y", shape=[50, 8], datatype="FP16"))
    write(folder, "fixed-batch", {"y": rows.T.copy()}, detection("yolov8", "y", shape=[7, 50]), fixed=True)
    write(folder, "end-to-end", {"y": finished(rows)}, detection("xyxy6", "y"))
    detr = detection("detr", "logits", boxes="boxes", background="nothing", iou_threshold=0.5)
    write(folder, "detr", pairs(rows), detr)
    segmentation = {"name": "y", "head": "segmentation", "background": "nothing"}
    write(folder, "classes", {"y": maps()}, segmentation)
    write(folder, "masks", {"y": maps() - np.float32(6)}, segmentation | {"format": "masks"})
    numbers = maps().argmax(axis=0)
    indices = {"format": "indices", "shape": [32, 32], "datatype": "INT64"}
    write(folder, "indices", {"y": numbers.astype(np.int64)}, segmentation | indices)
    heat = np.where(maps()[1] > 0, 3, 1).astype(np.float32)
    anomaly = {"name": "map", "head": "anomaly", "score": "score", "range": [1, 5]}
    one = {"labels": ["scratch"], "defects": ["scratch"]}
    write(folder, "anomaly", {"map": heat, "score": np.array([4], np.float32)}, anomaly, **one)
    bands = [{"name": "good", "below": 10, "verdict": "pass"}, {"name": "worn", "verdict": "fail"}]
    write(folder, "bands", {"y": np.array([12.5], np.float32)}, {"name": "y", "head": "score", "bands": bands}, **one)
    write(folder, "raw", {"y": np.array([[1, 2], [3, 4]], np.float32)}, {"name": "y", "head": "raw"})
    multi = [
        {"name": "kind", "head": "classification", "activation": "sigmoid", "nothing_found": "pass"},
        detection("yolov8", "any_y"),
        {"name": "numbers", "head": "raw"},
    ]
    kind = np.array([-9, -9, 0], np.float32)
    several = {"kind": kind, "any_y": np.zeros((7, 9), np.float32), "numbers": np.array([5], np.uint8)}
    write(folder, "several", several, multi)
    write_formats(folder, rows)
    bad = rows.copy()
    bad[7, 2] = np.nan
    write(folder, "not-finite", {"y": bad.T.copy()}, detection("yolov8", "y"))
    write(folder, "unlike", {"any_y": np.zeros((8, 50), np.float32)}, detection("yolov8", "any_y"))
    write(folder, "too-large", {"any_y": rows.T.copy()}, detection("yolov8", "any_y", shape=[7, 49]))
    large = np.zeros((7, 8400), np.float32)
    large[:, :50] = rows.T
    write(folder, "large", {"y": large}, detection("yolov8", "y", shape=[7, 8400]))
    return folder


@pytest.fixture(scope="module")
def triton(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module", params=["auto", "off"])
def service(request: Any, start_shared: Callable[..., Any], repository: Path, triton: TritonServer) -> Any:
    """The service by shared memory, and by bytes."""
    return start_shared(
        model_repository=str(repository), triton={"url": triton.grpc, "shared_memory": request.param, "slots": 16}
    )


@pytest.fixture(scope="module")
def judge(service: Any) -> Callable[[str], Any]:
    picture = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    source = {"kind": "inline", "content_type": "image/png", "data": base64.b64encode(picture).decode()}
    return lambda model: service.infer(model=model, source=source, deadline_ms=60_000)


FORMATS = ["yolov8", "yolov8-shared", "yolov5", "end-to-end", "detr", "large", "fixed-batch", "rtdetr", "seven", "nms"]


@pytest.mark.parametrize("model", FORMATS)
def test_detections_are_boxes_on_the_picture(judge: Callable[[str], Any], model: str) -> None:
    result = judge(model)
    assert result["status"] == "ok", result
    assert (result["verdict"], result["reason"]) == ("fail", "scratch 0.75 >= 0.50, pit 0.62 >= 0.50")
    for found, expected in zip(result["findings"], (SCRATCH, PIT), strict=True):
        assert found["label"] == expected["label"]
        assert found["confidence"] == pytest.approx(expected["confidence"], abs=1e-5)
        assert found["box"] == pytest.approx(expected["box"], abs=0.1)
        assert "area" not in found
    assert result["scores"]["scratch"] == pytest.approx(0.75, abs=1e-5)


@pytest.mark.parametrize(
    ("model", "confidence"),
    [
        ("classes", 1 / (1 + np.exp(-4) + np.exp(-8))),
        ("masks", 1 / (1 + np.exp(-2))),
        ("indices", 1.0),
    ],
)
def test_segments_are_regions_of_the_picture(judge: Callable[[str], Any], model: str, confidence: float) -> None:
    result = judge(model)
    assert (result["status"], result["verdict"]) == ("ok", "fail"), result
    found = result["findings"][0]
    assert found == REGION | {"confidence": pytest.approx(confidence, abs=1e-6)}
    assert len(result["findings"]) == 1


def test_masks_and_turned_boxes_are_measured_on_the_picture(judge: Callable[[str], Any]) -> None:
    scratch, pit = judge("seg")["findings"]
    assert (scratch["label"], scratch["box"]) == ("scratch", SCRATCH["box"])
    assert (scratch["pixels"], scratch["area"]) == (40 * 80, round(40 * 80 / (WIDTH * HEIGHT), 6))
    assert (pit["label"], pit["pixels"]) == ("pit", 0)
    scratch, pit = judge("obb")["findings"]
    assert scratch["box"] == pytest.approx(SCRATCH["box"], abs=0.1)
    assert np.array(scratch["corners"]) == pytest.approx(
        np.array([[240, 160], [160, 160], [160, 80], [240, 80]]), abs=0.1
    )


def test_pixels_reach_a_model_that_takes_them_as_they_are(judge: Callable[[str], Any]) -> None:
    result = judge("mean")
    assert (result["status"], result["scores"]) == ("ok", {"scratch": pytest.approx((90 * 48 + 114 * 16) / 64)})


def test_an_anomaly_has_a_score_and_a_region(judge: Callable[[str], Any]) -> None:
    result = judge("anomaly")
    assert (result["verdict"], result["reason"]) == ("fail", "scratch 0.75 >= 0.50")
    assert result["findings"] == [REGION | {"confidence": 0.5}]
    assert result["scores"] == {"scratch": 0.75}


def test_numbers_and_raw_outputs(judge: Callable[[str], Any]) -> None:
    bands = judge("bands")
    assert (bands["verdict"], bands["reason"]) == ("fail", "scratch 12.5 is worn (from 10)")
    raw = judge("raw")
    assert (raw["status"], raw["verdict"]) == ("ok", "unknown")
    assert raw["scores"] == {"y[0]": 1, "y[1]": 2, "y[2]": 3, "y[3]": 4}


def test_several_heads_of_one_model(judge: Callable[[str], Any]) -> None:
    result = judge("several")
    assert (result["verdict"], result["reason"]) == ("fail", "pit 0.50 >= 0.50")
    assert result["scores"] == {"numbers[0]": 5, "pit": 0.5, "scratch": 0.000123, "nothing": 0.000123}


def test_what_is_not_what_the_card_says_is_named(service: Any, judge: Callable[[str], Any]) -> None:
    result = judge("not-finite")
    assert (result["status"], result["verdict"], result["code"]) == ("failed", "unknown", "output-not-finite")
    result = judge("unlike")
    assert (result["status"], result["code"]) == ("failed", "engine-failed")
    assert "has shape [8, 50], its card reads [7, N]" in result["reason"]
    result = judge("too-large")
    if service.http.get("/v1/engine").json()["transport"] == "shared-memory":
        assert (result["status"], result["code"]) == ("failed", "engine-failed"), result
    assert judge("yolov8")["status"] == "ok"
