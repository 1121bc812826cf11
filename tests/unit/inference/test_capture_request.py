"""What POST /v1/capture takes and refuses by its body, and the record it makes."""

import base64
import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.capture.capture_request import SKEW, CaptureUnreadable, entry, parse

NOW = datetime(2026, 11, 22, 2, 30, tzinfo=UTC)
FLOATS = base64.b64encode(struct.pack("<6f", *range(6))).decode()
TENSOR = {"name": "Input-1", "datatype": "FLOAT32", "shape": [1, 6], "data": FLOATS}


def body(**fields: Any) -> bytes:
    return json.dumps({"capture_id": "capture1700000000", "model": "surface-defect"} | fields).encode()


def refused(payload: bytes) -> CaptureUnreadable:
    with pytest.raises(CaptureUnreadable) as caught:
        parse(payload, NOW)
    return caught.value


def record_of(payload: bytes, **fields: Any) -> Any:
    made = entry(
        parse(payload, NOW), NOW, **{"fleet": "f", "device": "box", "version": "3", "embed_limit": 3072} | fields
    )
    return json.loads(made.body), made


@pytest.mark.parametrize(
    "capture_id", ["capture1700000000", "ajapogmm-1685563523430", "0198c1de-7a5f-7d9b-8f43-0a1b2c3d4e5f", "a" * 128]
)
def test_ids_of_edge_managers_clients_are_taken(capture_id: str) -> None:
    assert parse(body(capture_id=capture_id), NOW).capture_id == capture_id


@pytest.mark.parametrize("capture_id", ["", "-a", "_a", "a.b", "a/b", "a b", "ä", "a" * 129, "a\n", 7, None])
def test_other_ids_are_refused(capture_id: Any) -> None:
    error = refused(body(capture_id=capture_id))
    assert error.code == "message-invalid"
    assert "capture_id" in error.reason


def test_a_record_has_what_was_given() -> None:
    record, made = record_of(
        body(
            inputs=[TENSOR],
            outputs=[{"name": "o", "datatype": "INT64", "shape": [1], "data": base64.b64encode(bytes(8)).decode()}],
            auxiliary_inputs=[{"name": "in.jpg", "encoding": "NONE", "data": base64.b64encode(b"\xff\xd8").decode()}],
            auxiliary_outputs=[{"name": "Output-2", "encoding": "JSON", "data": '{"a": 1}', "content_type": "json"}],
            inference_timestamp="2026-11-21T23:59:59+01:00",
            context={"station": "s1", "shift": "late"},
        )
    )
    assert (made.key, made.stream, made.kept) == ("capture1700000000", "surface-defect", "always")
    assert made.folder == "f/surface-defect/2026/11/21/22"
    taken = record["deviceFleetInputs"][0]
    assert struct.unpack("<6f", base64.b64decode(taken.pop("data"))) == (0, 1, 2, 3, 4, 5)
    assert taken == {
        "name": "Input-1",
        "mode": "Input",
        "encoding": "BASE64",
        "observedContentType": "Tensor[FLOAT32; 1, 6]",
    }
    assert record["deviceFleetOutputs"][0]["observedContentType"] == "Tensor[INT64; 1]"
    assert record["deviceFleetAuxiliaryInputs"][0] | {"data": ""} == {
        "name": "in.jpg",
        "mode": "Input",
        "encoding": "NONE",
        "observedContentType": "jpg",
        "data": "",
    }
    assert record["deviceFleetAuxiliaryOutputs"][0]["data"] == '{"a": 1}'
    about = record["eventMetadata"]
    assert (about["eventId"], about["deviceId"], about["modelVersion"]) == ("capture1700000000", "box", "3")
    assert about["inferenceTime"] == "2026-11-21T22:59:59"
    assert about["context"] == {"station": "s1", "shift": "late"}


def test_without_a_timestamp_it_is_now_and_the_clients_version_comes_first() -> None:
    record, _made = record_of(body(model_version="1.0"))
    assert record["eventMetadata"]["inferenceTime"] == "2026-11-22T02:30:00"
    assert record["eventMetadata"]["modelVersion"] == "1.0"


def test_what_is_large_becomes_an_object_with_an_ending() -> None:
    data = base64.b64encode(bytes(3073)).decode()
    files = [
        {"name": "a", "encoding": "BASE64", "data": data, "content_type": kind}
        for kind in ("image/png", "mask.png", "../../etc/x", "?")
    ]
    _record, made = record_of(body(auxiliary_outputs=files))
    endings = [blob.name.rpartition("0-a" if n == 0 else f"{n}-a")[2] for n, blob in enumerate(made.blobs)]
    assert endings == [".png", ".mask.png", ".x", ".bin"]
    assert all(blob.name.count("/") == 2 and ".." not in blob.name for blob in made.blobs)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"inputs": [TENSOR | {"shape": [7]}]}, "needs 28"),
        ({"inputs": [TENSOR | {"shape": [-1]}]}, "shape"),
        ({"inputs": [TENSOR | {"shape": [2**31] * 16}]}, "shape"),
        ({"inputs": [TENSOR | {"datatype": "BYTES"}]}, "datatype"),
        ({"inputs": [TENSOR | {"data": "$"}]}, "base64"),
        ({"inputs": [TENSOR] * 65}, "inputs"),
        ({"outputs": [{}]}, "outputs.0.name"),
        ({"auxiliary_inputs": [{"name": "a", "encoding": "JSON", "data": "{"}]}, "encoding is JSON"),
        ({"auxiliary_inputs": [{"name": "a", "encoding": "NONE", "data": "€"}]}, "base64"),
        ({"auxiliary_inputs": [{"name": "a", "encoding": "CSV", "data": 1}]}, "expected a string"),
        ({"auxiliary_inputs": [{"name": "a", "encoding": "XML", "data": "<a/>"}]}, "encoding"),
        ({"input": [TENSOR]}, "did you mean 'inputs'?"),
        ({"model": "../x"}, "model"),
        ({"inference_timestamp": "2026-11-22T02:30:00"}, "inference_timestamp"),
        ({"inference_timestamp": "0001-01-01T00:00:00+14:00"}, "before 1970"),
        ({"inference_timestamp": 1e300}, "inference_timestamp"),
        ({"context": {"station": 1}}, "context.station"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(fields: dict[str, Any], said: str) -> None:
    error = refused(body(**fields))
    assert error.code == "message-invalid"
    assert said in error.reason


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b'"\\ud800"', b"\xff", b'{"a": NaN}', b"7"])
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    assert refused(payload).code == "not-json"


def test_a_client_may_be_ahead_a_little_only() -> None:
    assert parse(body(inference_timestamp=(NOW + SKEW).isoformat()), NOW).inference_timestamp == NOW + SKEW
    late = refused(body(inference_timestamp=(NOW + SKEW + timedelta(milliseconds=1)).isoformat()))
    assert (late.code, late.capture_id) == ("capture-in-future", "capture1700000000")
    assert refused(body(inference_timestamp="9999-12-31T23:59:59-14:00")).code == "capture-in-future"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(["inputs", "auxiliary_outputs", "context", "inference_timestamp", "model_version"]),
)
def test_whatever_is_sent_is_taken_whole_or_refused(value: Any, field: str) -> None:
    try:
        taken = parse(body(**{field: value}), NOW)
    except CaptureUnreadable:
        return
    made = entry(taken, NOW, fleet="f", device="box", version=None, embed_limit=1)
    assert b"\n" not in made.body
    assert json.loads(made.body)["eventMetadata"]["eventId"] == "capture1700000000"
