import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lineside.contract import (
    CameraSource,
    Capture,
    Context,
    ErrorReport,
    FileSource,
    Finding,
    InlineSource,
    LinkState,
    ModelRef,
    Outcome,
    Policy,
    Request,
    Result,
    ServiceStatus,
    Tensor,
    TensorsSource,
    Times,
    Timing,
    Unreadable,
    UrlSource,
    parse_error_report,
    parse_outcome,
    parse_request,
    parse_result,
    parse_status,
    to_json,
    uuid7,
)

ID = "0192f0a1-7b3c-7def-8a90-123456789abc"
MOMENT = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
TENSOR = Tensor(name="window", datatype="FP32", shape=(2, 2), values=[1.0, 2.5, 3.0, 4.0])
SOURCES = {
    "camera": CameraSource(camera="station-1"),
    "file": FileSource(path="2026/11/21/part.jpg"),
    "url": UrlSource(url="http://camera.plant/snapshot.jpg"),
    "inline": InlineSource(content_type="image/png", data=b"\x89PNG"),
    "tensors": TensorsSource(tensors=(TENSOR,)),
}


def request(**changes) -> Request:
    fields = {
        "id": ID,
        "model": "surface-defect",
        "source": SOURCES["camera"],
        "context": Context(station="station-1", part_id="P-000123", tags={"tool": 7}),
        "time": Times(source=MOMENT, received=MOMENT),
        "deadline_ms": 400,
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    return Request(schema="lineside/request/1", **(fields | changes))


MESSAGES = {f"request-{kind}": request(source=source) for kind, source in SOURCES.items()} | {
    "result-ok": Result(
        id=ID,
        request_id=ID,
        status="ok",
        verdict="fail",
        reason="scratch 0.93 >= 0.60",
        model=ModelRef(name="surface-defect", version="1", digest="sha256:00"),
        findings=(Finding(label="scratch", confidence=0.93, box=(12, 40, 88, 61)),),
        scores={"good": 0.02, "scratch": 0.93},
        timing_ms=Timing(queued=0.4, source=1.9, decode=2.2, infer=3.1, interpret=0.2, total=7.8),
        context=Context(station="station-1", part_id="P-000123"),
        time=Times(received=MOMENT, published=MOMENT),
    ),
    "result-rejected": Result(
        id=ID, request_id=ID, status="rejected", verdict="unknown", reason="no camera 'x'", code="camera-unknown"
    ),
    "policy": Policy(
        thresholds={"default": 0.75, "scratch": 0.6}, models={"surface-defect": "1"}, capture=Capture(rate=0.05)
    ),
    "policy-capture": Policy(
        capture=Capture(
            rate=0.05,
            every=100,
            per_hour=60,
            always=("fail",),
            band=(0.4, 0.6),
            labels=("scratch",),
            keep=("image", "input", "outputs", "overlay"),
        )
    ),
    "request-capture": request(capture=True),
    "error": ErrorReport(
        id=ID, code="not-json", reason="not JSON", topic="t", excerpt="", time=Times(published=MOMENT)
    ),
    "outcome": Outcome(
        request_id=ID,
        trigger="station-1",
        model="surface-defect",
        station="station-1",
        part_id="P-000123",
        verdict="unknown",
        origin="deadline",
        cause="deadline",
        reason="no verdict 20 ms before the deadline",
        written_at=MOMENT,
        trigger_to_verdict_ms=384.5,
        deadline_ms=400,
        time=Times(published=MOMENT),
    ),
    "status": ServiceStatus(
        service="opcua_bridge",
        ready=False,
        connections=(
            LinkState(name="opcua", target="opc.tcp://plc:4840", state="BACKOFF", since=MOMENT, detail="refused"),
        ),
        version="0.1.0",
        settings_hash="0f" * 16,
        time=Times(published=MOMENT),
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages_on_the_wire_are_golden(name: str, golden) -> None:
    golden(f"messages/{name}.json", json.dumps(json.loads(to_json(MESSAGES[name])), indent=2) + "\n")


@pytest.mark.parametrize("kind", SOURCES)
def test_a_request_survives_the_wire(kind: str) -> None:
    message = request(source=SOURCES[kind])
    assert parse_request(to_json(message)) == message


def test_an_outcome_and_a_status_survive_the_wire() -> None:
    assert parse_outcome(to_json(MESSAGES["outcome"])) == MESSAGES["outcome"]
    assert parse_status(to_json(MESSAGES["status"])) == MESSAGES["status"]
    with pytest.raises(Unreadable, match="reads 'lineside/outcome/1'"):
        parse_outcome(to_json(MESSAGES["status"]))


def test_a_result_survives_the_wire() -> None:
    assert parse_result(to_json(MESSAGES["result-ok"])) == MESSAGES["result-ok"]


def test_the_design_samples_are_understood() -> None:
    text = """{"schema":"lineside/request/1","id":"0192f0a1-7b3c-7def-8a90-123456789abc","model":"surface-defect",
      "model_version":null,"source":{"kind":"camera","camera":"station-1"},"future":{"x":1},
      "context":{"station":"station-1","part_id":"P-000123","operator":"a"},
      "time":{"source":"2026-11-21T12:00:00Z","received":"2026-11-21T12:00:00.01Z"},"deadline_ms":400}"""
    message = parse_request(text.encode())
    assert message.context.station == "station-1"
    assert json.loads(to_json(message))["context"]["operator"] == "a"  # the line's own fields come back


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (b"{", "not-json", "not JSON"),
        (b"[1]", "not-json", "expected a JSON object, got list"),
        (b"\xff\xfe", "not-json", "not JSON"),
        (b"[" * 100_000, "not-json", "not JSON"),
        ({"schema": "lineside/request/9"}, "schema-unsupported", "'lineside/request/9' is not supported"),
        ({"schema": None}, "schema-unsupported", "reads 'lineside/request/1'"),
        ({"model": "../../etc"}, "message-invalid", "model: String should match"),
        ({"source": {"kind": "telepathy"}}, "message-invalid", "source: Input tag 'telepathy'"),
        ({"source": {"kind": "camera"}}, "message-invalid", "source.camera.camera: Field required"),
        ({"deadline_ms": -1}, "message-invalid", "deadline_ms: Input should be greater than 0 (got -1)"),
        ({"deadline_ms": "soon"}, "message-invalid", "deadline_ms"),
        ({"id": "x" * 200}, "message-invalid", "id: String should match"),
        ({"time": {"received": "2026-11-21T12:00:00"}}, "message-invalid", "timezone"),
        ({"time": {"received": "0001-01-01T00:00:00+01:00"}}, "message-invalid", "outside the years"),
        (
            {"source": {"kind": "inline", "content_type": "image/png", "data": "%%%"}},
            "message-invalid",
            "source.inline.data: Value error, not base64",
        ),
    ],
)
def test_what_cannot_be_understood_is_named(change, code: str, says: str) -> None:
    payload = change if isinstance(change, bytes) else json.dumps(json.loads(to_json(request())) | change).encode()
    with pytest.raises(Unreadable, match=re.escape(says)) as raised:
        parse_request(payload)
    assert raised.value.code == code


def test_the_id_of_an_invalid_request_is_kept_for_the_answer() -> None:
    payload = json.dumps(json.loads(to_json(request())) | {"model": 7}).encode()
    with pytest.raises(Unreadable) as raised:
        parse_request(payload)
    assert raised.value.request_id == ID


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_request(payload)


def test_only_a_judged_part_passes_or_fails() -> None:
    with pytest.raises(ValidationError, match="only ok carries pass or fail"):
        Result(id=ID, request_id=ID, status="expired", verdict="pass", reason="")


def test_a_policy_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValidationError, match="treshold"):
        Policy.model_validate({"treshold": {"default": 0.5}})


def test_the_deadline_counts_from_what_the_bridge_saw() -> None:
    arrived = MOMENT + timedelta(milliseconds=30)
    assert request().expires(arrived) == MOMENT + timedelta(milliseconds=400)


def test_a_clock_ahead_of_ours_gives_no_more_time() -> None:
    arrived = MOMENT - timedelta(seconds=5)
    assert request().expires(arrived) == arrived + timedelta(milliseconds=400)


def test_without_a_deadline_nothing_expires() -> None:
    assert request(deadline_ms=None).expires(MOMENT) is None


def test_times_are_kept_in_utc() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=2)))
    assert b'"source":"2026-11-21T12:00:00.123456Z"' in to_json(Times(source=elsewhere))


def test_ids_are_uuid7_and_in_order_of_time() -> None:
    ids = [uuid7() for _ in range(2000)]
    assert all(UUID(text).version == 7 and UUID(text).variant == "specified in RFC 4122" for text in ids)
    assert len(set(ids)) == len(ids)
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)


def test_a_tensor_may_name_its_columns_and_says_nothing_of_them_else() -> None:
    named = Tensor(**TENSOR.model_dump() | {"columns": ("a", "b"), "units": ("mm", None)})
    assert '"columns":["a","b"],"units":["mm",null]' in named.model_dump_json()
    assert Tensor.model_validate_json(named.model_dump_json()) == named
    assert "columns" not in TENSOR.model_dump_json()
    assert "units" not in TENSOR.model_dump_json()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"columns": ("a",)}, "columns has 1 names"),
        ({"columns": ("a", "a")}, "names one twice"),
        ({"columns": ("a", "b"), "units": ("mm",)}, "one unit or null for each"),
        ({"units": ("mm", "mm")}, "units needs columns"),
        ({"columns": (), "shape": (), "values": [1]}, "columns has 0 names"),
    ],
)
def test_columns_that_do_not_fit_a_tensor_are_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Tensor(**TENSOR.model_dump() | fields)


RESULT_TWICE = Result(
    id=uuid7(),
    request_id=uuid7(),
    status="ok",
    verdict="pass",
    reason="good",
    model=ModelRef(name="m"),
    context=Context(station="s", part_id="P-1"),
)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b'"verdict":"pass"', b'"verdict":"fail","verdict":"pass"', "verdict"),
        (b'"context":{', b'"context":{"part_id":"P-1","part_id":"P-2",', "part_id"),
        (b'"verdict":"pass"', b'"verdict":"pass","ver\\u0064ict":"fail"', "verdict"),
    ],
)
def test_a_name_that_stands_twice_is_refused_by_name(old: bytes, new: bytes, name: str) -> None:
    payload = to_json(RESULT_TWICE)
    assert old in payload
    with pytest.raises(Unreadable, match=f"'{name}' is given twice in one object") as caught:
        parse_result(payload.replace(old, new, 1))
    assert caught.value.code == "message-invalid"
    assert caught.value.request_id == RESULT_TWICE.id


def test_of_two_ids_none_is_told() -> None:
    payload = to_json(RESULT_TWICE).replace(b'"id":', b'"id":"x","id":', 1)
    with pytest.raises(Unreadable, match="'id' is given twice") as caught:
        parse_result(payload)
    assert caught.value.request_id is None


def test_an_error_report_is_read_like_other_messages() -> None:
    report = ErrorReport(id=uuid7(), request_id="x", code="not-json", reason="?", topic="t", excerpt="{")
    assert parse_error_report(to_json(report)) == report
    with pytest.raises(Unreadable, match="'code' is given twice"):
        parse_error_report(to_json(report).replace(b'"code":', b'"code":"a","code":', 1))
