"""What a part's record is, read as the people read it who know Edge Manager's."""

import base64
import json
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from lineside.contract import (
    CameraSource,
    Context,
    Finding,
    InlineSource,
    ModelRef,
    Request,
    Result,
    TensorsSource,
    UrlSource,
)
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.spool import Entry
from lineside_inference.capture.decide import Decision
from lineside_inference.capture.record_builder import RecordBuilder
from lineside_inference.dataplane.judged import EvidenceInputs, Judged
from lineside_inference.deadline import Arrival
from lineside_inference.imaging.decode import decode_all
from lineside_inference.imaging.encode import encode
from lineside_inference.imaging.pixel_formats.layout import Layout
from lineside_inference.imaging.prepare import prepare
from lineside_inference.models.card import Card
from lineside_inference.models.store import Model
from lineside_inference.sources import Frame
from tests.support.waiting import HANG_S

RAN = datetime(2026, 11, 22, 2, 44, 5, tzinfo=UTC)
EVERYTHING = ("image", "input", "outputs", "overlay")
ALWAYS = Decision("always", "verdict fail")
MASKS = {"cam": ((0.0, 0.0, 0.5, 1.0),)}
LOGITS = np.array([[0.25, -1.5, 3.0]], np.float32)

_ENTRY = {
    "type": "object",
    "required": ["name", "mode", "encoding", "observedContentType"],
    "properties": {
        "name": {"type": "string"},
        "mode": {"enum": ["Input", "Output"]},
        "encoding": {"enum": ["BASE64", "NONE", "CSV", "JSON"]},
        "observedContentType": {"type": "string"},
        "data": {"type": "string"},
        "data-ref": {"type": "string"},
    },
    "oneOf": [{"required": ["data"]}, {"required": ["data-ref"]}],
    "additionalProperties": False,
}
_LISTS = ["deviceFleetInputs", "deviceFleetOutputs", "deviceFleetAuxiliaryInputs", "deviceFleetAuxiliaryOutputs"]
_METADATA = ["deviceFleetName", "deviceId", "eventId", "inferenceTime", "modelName", "modelVersion"]
SCHEMA = {
    "type": "object",
    "required": [*_LISTS, "eventMetadata", "eventVersion"],
    "properties": {name: {"type": "array", "items": _ENTRY} for name in _LISTS}
    | {
        "eventMetadata": {
            "type": "object",
            "required": _METADATA,
            "properties": {name: {"type": "string"} for name in _METADATA}
            | {"inferenceTime": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d$"}},
        },
        "eventVersion": {"const": "0"},
    },
    "additionalProperties": False,
}


def request(source: Any = None, **fields: Any) -> Request:
    context = Context(station="press", part_id="P-1", tags={"tool": 7})
    given = {"id": "part-1", "context": context, "source": source or CameraSource(camera="cam")}
    return Request.new(**({"model": "surface-defect"} | given | fields))


def result(**fields: Any) -> Result:
    given = {"id": "r", "request_id": "part-1", "status": "ok", "verdict": "fail", "reason": "scratch 0.93 >= 0.60"}
    finding = Finding(label="scratch", confidence=0.93, box=(1, 2, 8, 9))
    return Result(**(given | {"model": ModelRef(name="surface-defect", version="1"), "findings": (finding,)} | fields))


@pytest.fixture
def taken(make_card: Callable[..., Card]) -> Callable[..., EvidenceInputs]:
    """What a picture leaves that came all the way, with everything wanted."""
    model = Model.of(make_card())
    assert model.preparation is not None

    def make(frame: Frame, keep: tuple[str, ...] = EVERYTHING) -> EvidenceInputs:
        tensor = np.zeros(model.card.input.shape, np.float32)
        pixels = frame.pixels if frame.pixels is not None else decode_all(frame.data, max_pixels=10**6, is_bgr=True)
        geometry = prepare(pixels, model.preparation, tensor)
        given = {"input": tensor, "geometry": geometry} if "input" in keep else {}
        outputs = {"logits": LOGITS} if "outputs" in keep else {}
        return EvidenceInputs(keep=keep, model=model, frame=frame, outputs=outputs, **given)

    return make


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(100, 256, (48, 64, 3), np.uint8)


def entry(
    taken: EvidenceInputs, *, ask: Request | None = None, masks: Any = None, limit: int = 3072, **fields: Any
) -> Entry:
    settings = EdgeManagerSettings.model_validate(
        {"DeviceFleetName": "plant", "CaptureDataBase64EmbedLimit": limit, "embed_above_3072": True}
    )
    builder = RecordBuilder("press-3", settings, masks or {}, max_pixels=10**6)
    return builder.entry(Judged(ask or request(), result(**fields), Arrival(RAN), evidence=taken), ALWAYS, 0.25)


def read(given: Entry) -> Any:
    record = json.loads(given.body)
    jsonschema.validate(record, SCHEMA)
    return record


def test_everything_of_a_part_is_in_its_record(taken: Callable[..., EvidenceInputs]) -> None:
    jpeg = encode(picture(), "jpg")
    kept = entry(taken(Frame(jpeg)), limit=10**6)
    record = read(kept)
    assert (kept.key, kept.stream, kept.kept) == ("part-1", "surface-defect", "always")
    assert kept.folder == "plant/surface-defect/2026/11/22/02"
    assert kept.blobs == ()
    (image,) = record["deviceFleetAuxiliaryInputs"]
    assert image["observedContentType"] == "jpg"
    assert base64.b64decode(image["data"]) == jpeg  # as it came
    overlay, judged = record["deviceFleetAuxiliaryOutputs"]
    assert overlay["observedContentType"] == "overlay.jpg"
    assert base64.b64decode(overlay["data"]).startswith(b"\xff\xd8\xff")
    assert (judged["observedContentType"], judged["encoding"]) == ("json", "JSON")
    assert json.loads(judged["data"])["verdict"] == "fail"
    assert json.loads(judged["data"])["evidence_id"] == "part-1"
    metadata = record["eventMetadata"]
    assert (
        metadata
        | {
            "deviceFleetName": "plant",
            "deviceId": "press-3",
            "eventId": "part-1",
            "inferenceTime": "2026-11-22T02:44:05",
            "modelName": "surface-defect",
            "modelVersion": "1",
            "kept": "always",
            "why": "verdict fail",
            "fairShare": 0.25,
            "context": {"station": "press", "part_id": "P-1", "tags": {"tool": 7}},
            "source": {"kind": "camera", "camera": "cam"},
        }
        == metadata
    )
    assert "leftOut" not in metadata


def test_what_the_camera_said_of_the_frame_is_in_its_record() -> None:
    said = {"ExposureTime": 1500.0, "offsetMs": 0.3}
    assert read(entry(EvidenceInputs(frame=Frame(b"-", metadata=said))))["eventMetadata"]["frame"] == said
    assert "frame" not in read(entry(EvidenceInputs(frame=Frame(b"-"))))["eventMetadata"]


def test_public_samples_readers_read_it(taken: Callable[..., EvidenceInputs]) -> None:
    """A Lambda or a notebook takes the type apart with a pattern, and unpacks the numbers."""
    record = read(entry(taken(Frame(encode(picture(), "png"))), limit=10**6))
    (given,) = record["deviceFleetInputs"]
    shape = re.fullmatch(r"Tensor\[(\w+); (\d+), (\d+), (\d+), (\d+)\]", given["observedContentType"])
    assert shape is not None
    assert shape.groups() == ("FLOAT32", "1", "3", "8", "12")
    assert len(struct.unpack(f"<{3 * 8 * 12}f", base64.b64decode(given["data"]))) == 288
    (answer,) = record["deviceFleetOutputs"]
    assert answer["observedContentType"] == "Tensor[FLOAT32; 1, 3]"
    assert struct.unpack("3f", base64.b64decode(answer["data"])) == (0.25, -1.5, 3.0)
    assert (given["name"], answer["name"]) == ("image", "logits")
    assert (given["mode"], answer["mode"]) == ("Input", "Output")


def test_large_parts_are_objects_of_their_own(taken: Callable[..., EvidenceInputs]) -> None:
    kept = entry(taken(Frame(encode(picture(), "png"))), limit=100)
    record = read(kept)
    assert record["deviceFleetInputs"][0]["data-ref"] == "spool:0"
    assert [blob.name.partition(".")[2] for blob in kept.blobs] == [
        "part-1.0-image.bin",
        "part-1.0-image.png",
        "part-1.0-overlay.jpg",
        "part-1.1-result.json",
    ]
    assert {blob.name.rpartition("/")[0] for blob in kept.blobs} == {
        "raw-data/input-tensors",
        "raw-data/auxiliary-inputs",
        "raw-data/auxiliary-outputs",
    }


@pytest.mark.parametrize("keep", [(), ("image",), ("input",), ("outputs",), ("overlay",)])
def test_only_what_the_policy_keeps_is_kept(taken: Callable[..., EvidenceInputs], keep: tuple[str, ...]) -> None:
    record = read(entry(taken(Frame(encode(picture(), "jpg")), keep)))
    names = {one["name"] for group in _LISTS for one in record[group]} - {"result"}
    expected = {(): set(), ("input",): {"image"}, ("outputs",): {"logits"}}.get(keep, set(keep))
    assert names == expected
    assert bool(record["deviceFleetInputs"]) == (keep == ("input",))
    assert record["deviceFleetAuxiliaryOutputs"][-1]["name"] == "result"


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", None])
def test_masks_are_in_everything_that_shows_the_picture(
    taken: Callable[..., EvidenceInputs], suffix: str | None
) -> None:
    frame = Frame(pixels=picture()) if suffix is None else Frame(encode(picture(), suffix))
    record = read(entry(taken(frame), masks=MASKS, limit=10**6))
    assert record["eventMetadata"]["masked"] == 1
    (image,) = record["deviceFleetAuxiliaryInputs"]
    assert image["observedContentType"] == (suffix or "jpg")
    for shown in (image, record["deviceFleetAuxiliaryOutputs"][0]):
        pixels = decode_all(base64.b64decode(shown["data"]), max_pixels=10**6, is_bgr=True)
        assert pixels[24:, :28].max() < 45  # below the overlay's bar and right of its box, black
        assert pixels[24:, 36:].min() > 20
    (tensor,) = record["deviceFleetInputs"]
    values = np.frombuffer(base64.b64decode(tensor["data"]), np.float32).reshape(3, 8, 12)
    assert values[:, :, :6].max() < 0  # of mean 1, 2, 3: black is below 0
    assert values[:, :, 7:].min() > 5
    if frame.pixels is not None:
        assert frame.pixels[:, :32].min() >= 100  # others look at the same picture


def test_what_cannot_be_masked_is_not_kept_and_the_record_says_so(taken: Callable[..., EvidenceInputs]) -> None:
    whole = encode(picture(), "jpg")
    left = taken(Frame(whole))
    left = replace(left, frame=Frame(whole[:-300]), input=None)  # as of a camera that sent half a picture
    failed = {"status": "failed", "verdict": "unknown", "findings": ()}
    record = read(entry(left, masks=MASKS, **failed))
    assert record["deviceFleetAuxiliaryInputs"] == []
    assert "no end marker" in record["eventMetadata"]["leftOut"]["image"]
    assert [one["name"] for one in record["deviceFleetAuxiliaryOutputs"]] == ["result"]
    unmasked = read(entry(left, limit=10**6, **failed))  # without masks it is kept as it came
    assert base64.b64decode(unmasked["deviceFleetAuxiliaryInputs"][0]["data"]) == whole[:-300]


def test_what_is_no_picture_is_kept_as_it_came() -> None:
    left = EvidenceInputs(keep=("image",), frame=Frame(b"<html>log in</html>"))
    record = read(entry(left, status="failed", verdict="unknown", findings=(), model=None))
    (image,) = record["deviceFleetAuxiliaryInputs"]
    assert (image["observedContentType"], image["name"]) == ("bin", "image")
    assert record["eventMetadata"]["modelVersion"] == ""


def test_a_part_whose_picture_never_came_has_a_record_all_the_same() -> None:
    failed = {"status": "failed", "verdict": "unknown", "code": "camera-timeout", "findings": ()}
    record = read(entry(EvidenceInputs(keep=EVERYTHING), **failed))
    assert [len(record[name]) for name in _LISTS] == [0, 0, 0, 1]


def test_numbers_are_kept_as_they_came_or_as_they_were_prepared() -> None:
    tensor = {"name": "window", "datatype": "INT16", "shape": [2, 2], "values": [1, -2, 3, 300], "columns": ["b", "a"]}
    ask = request(TensorsSource.model_validate({"tensors": [tensor]}))
    (given,) = read(entry(EvidenceInputs(keep=("image", "overlay")), ask=ask))["deviceFleetInputs"]
    assert given["observedContentType"] == "Tensor[INT16; 1, 2, 2]"
    assert struct.unpack("<4h", base64.b64decode(given["data"])) == (1, -2, 3, 300)


def test_numbers_that_do_not_fit_are_left_out() -> None:
    tensor = {"name": "window", "datatype": "UINT8", "shape": [2], "values": [1, 300]}
    ask = request(TensorsSource.model_validate({"tensors": [tensor]}))
    record = read(entry(EvidenceInputs(keep=("image",)), ask=ask, status="expired", verdict="unknown", findings=()))
    assert record["deviceFleetInputs"] == []
    assert "not what they say" in record["eventMetadata"]["leftOut"]["image"]


def test_pixels_and_secrets_of_the_request_are_not_repeated() -> None:
    ask = request(InlineSource(content_type="image/jpeg", data=b"\xff\xd8"))
    shown = read(entry(EvidenceInputs(), ask=ask))["eventMetadata"]["source"]
    assert shown == {"kind": "inline", "content_type": "image/jpeg", "bytes": 2}
    ask = request(UrlSource(url="http://user:secret@camera.plant/snapshot.jpg?token=secret"))
    assert b"secret" not in entry(EvidenceInputs(), ask=ask).body


@pytest.mark.parametrize(("is_large", "at_once"), [(True, 1), (False, 2)])
def test_large_pictures_are_taken_apart_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch, is_large: bool, at_once: int
) -> None:
    inside: list[int] = []
    most: list[int] = []
    both = threading.Barrier(at_once, timeout=HANG_S)

    def slowly(*_arguments: Any, **_named: Any) -> tuple[bytes, str]:
        inside.append(1)
        most.append(len(inside))
        both.wait()
        inside.pop()
        return b"", "png"

    monkeypatch.setattr("lineside_inference.capture.record_builder.masks.masked_file", slowly)
    monkeypatch.setattr(
        "lineside_inference.capture.record_builder.decoding_bytes", lambda *_, **__: 2**30 if is_large else 2**20
    )
    builder = RecordBuilder("press-3", EdgeManagerSettings(), MASKS, max_pixels=10**6)
    outcomes = [threading.Thread(target=lambda: builder._image(Frame(b"x"), MASKS["cam"])) for _ in range(2)]
    for one in outcomes:
        one.start()
    for one in outcomes:
        one.join(HANG_S)
    assert (len(most), max(most)) == (2, at_once)


def test_raw_pixels_that_were_refused_are_kept_as_they_came_and_never_past_a_mask() -> None:
    frame = Frame(b"BM" + bytes(40), layout=Layout.of("Mono8", 8, 8))
    inputs = EvidenceInputs(keep=("image", "overlay"), frame=frame)
    record = read(entry(inputs))
    (image,) = record["deviceFleetAuxiliaryInputs"]
    assert image["observedContentType"] == "bin"
    assert base64.b64decode(image["data"]) == frame.data
    assert record["eventMetadata"]["leftOut"] == {"overlay": "the raw image did not become pixels"}
    record = read(entry(inputs, masks={"cam": ((0, 0, 0.5, 0.5),)}))
    assert record["deviceFleetAuxiliaryInputs"] == []
    assert record["eventMetadata"]["leftOut"].keys() == {"image", "overlay"}


def test_gray_pixels_are_drawn_on_and_masked(taken: Callable[..., EvidenceInputs]) -> None:
    gray = np.full((48, 64), 200, np.uint8)
    gray.flags.writeable = False  # a view of what the camera sent
    inputs = replace(taken(Frame(pixels=np.dstack([gray] * 3))), frame=Frame(pixels=gray))
    record = read(entry(inputs, masks={"cam": ((0, 0, 0.5, 1),)}, limit=10**6))
    (image,) = record["deviceFleetAuxiliaryInputs"]
    found = cv2.imdecode(np.frombuffer(base64.b64decode(image["data"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert found.ndim == 2
    assert (found[:, :24].max(), found[:, 40:].min()) == (0, 200)
    overlay = record["deviceFleetAuxiliaryOutputs"][0]
    drawn = cv2.imdecode(np.frombuffer(base64.b64decode(overlay["data"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert drawn.shape == (48, 64, 3)
