"""Parts through the real service and a real Triton, and what is in the spool then."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lineside.spool import Spool, SpoolSettings
from tests.support.waiting import block_until

Start = Callable[..., Any]
EVERYTHING = {"always": ["pass", "fail", "unknown"], "keep": ["image", "input", "outputs", "overlay"]}
NEVER = {"always": [], "rate": 0.0}
SAMPLED = {"always": [], "rate": 1.0}


@contextmanager
def spool_of(folder: Path) -> Iterator[Spool]:
    with Spool.open(SpoolSettings(folder=folder), recover=False) as spool:
        yield spool


def records(folder: Path) -> dict[str, tuple[Any, dict[str, bytes]]]:
    """Return every record that waits by its id: its JSON, and the bytes of its blobs by name."""
    found = {}
    with spool_of(folder) as spool:
        for record in spool.iterate():
            blobs = {}
            for blob in record.blobs:
                with spool.open_blob(blob) as stream:
                    blobs[blob.name.rpartition("/")[2]] = stream.read()
            found[record.key] = (json.loads(record.body), blobs)
    return found


def captured(service: Any, kept: str = "always", model: str = "surface-defect") -> float:
    return service.metric(f'lineside_inference_captures_total{{kept="{kept}",model="{model}"}}')


@pytest.fixture
def keeping(start_inference: Start, triton_server: Any, tmp_path: Path) -> Start:
    """Start a service that keeps evidence in a spool below the test's folder; waits as long as it takes."""

    def start(rules: dict[str, Any], **settings: Any) -> Any:
        settings.setdefault("capture", {"wait_ms": 10_000})
        return start_inference(
            thing="press-3",
            spool={"folder": str(tmp_path / "spool")},
            triton={"url": triton_server.grpc},
            policy={"capture": rules},
            **settings,
        )

    return start


class Line:
    """A service that some tests share; `rule` gives it another policy."""

    def __init__(self, service: Any, folder: Path) -> None:
        self.service = service
        self.folder = folder

    def rule(self, capture: dict[str, Any]) -> Any:
        return self.service.http.put("/v1/policy", json={"capture": capture})

    def records(self, *keys: str) -> list[tuple[Any, dict[str, bytes]]]:
        found = records(self.folder)
        return [found[key] for key in keys]


@pytest.fixture(scope="module")
def line(start_shared: Start, triton_server: Any, shared_camera: Any, tmp_path_factory: pytest.TempPathFactory) -> Line:
    folder = tmp_path_factory.mktemp("evidence") / "spool"
    service = start_shared(
        thing="press-3",
        spool={"folder": str(folder)},
        edge_manager={"DeviceFleetName": "plant"},
        triton={"url": triton_server.grpc},
        cameras={name: {"url": f"{shared_camera.url}/{name}"} for name in ("good", "error", "truncated")},
        capture={"wait_ms": 10_000, "masks": {"press-9": [[0.0, 0.0, 1.0, 0.5]]}},
    )
    return Line(service, folder)


def test_everything_of_a_part_is_on_the_disk_when_its_answer_says_so(line: Line, part_jpeg: bytes) -> None:
    assert line.rule(EVERYTHING).status_code == 200
    before = captured(line.service)
    context = {"station": "press", "part_id": "P-1"}
    answer = line.service.infer(source={"kind": "camera", "camera": "good"}, context=context, id="part-1")
    assert answer["evidence_id"] == "part-1"
    timing = answer["timing_ms"]
    assert timing["total"] >= timing["capture"] + timing["infer"] > timing["capture"] > 0
    ((record, blobs),) = line.records("part-1")
    assert blobs["press-3.part-1.0-image.jpg"] == part_jpeg
    tensor = np.frombuffer(blobs["press-3.part-1.0-image.bin"], np.float32)
    assert record["deviceFleetInputs"][0]["observedContentType"].startswith("Tensor[FLOAT32; 1, 3, ")
    assert np.isfinite(tensor).all()
    (output,) = record["deviceFleetOutputs"]
    assert len(np.frombuffer(base64.b64decode(output["data"]), np.float32)) == len(answer["scores"])
    overlay = blobs["press-3.part-1.0-overlay.jpg"]
    assert cv2.imdecode(np.frombuffer(overlay, np.uint8), cv2.IMREAD_COLOR).shape == (480, 640, 3)
    judged = json.loads(record["deviceFleetAuxiliaryOutputs"][1]["data"])
    for name in ("id", "verdict", "reason", "scores", "evidence_id"):
        assert judged[name] == answer[name]
    assert record["eventMetadata"]["deviceId"] == "press-3"
    assert record["eventMetadata"]["context"] == context
    assert captured(line.service) == before + 1
    assert line.service.metric("lineside_inference_capture_seconds_count") > 0
    (link,) = (one for one in line.service.http.get("/readyz").json()["connections"] if one["name"] == "spool")
    assert (link["state"], link["required"]) == ("ONLINE", False)


def test_the_kept_tensor_is_what_the_model_saw(line: Line, part_jpeg: bytes) -> None:
    """Many in one slot: each tensor belongs to its own picture."""
    assert line.rule({"always": ["pass", "fail"], "keep": ["input"]}).status_code == 200
    picture = cv2.imdecode(np.frombuffer(part_jpeg, np.uint8), cv2.IMREAD_COLOR)
    levels = range(0, 250, 10)
    for level in levels:
        png = cv2.imencode(".png", np.full_like(picture, level))[1].tobytes()
        line.service.predict(png, x_request_id=f"grey-{level}")
    tensors = [next(iter(blobs.values())) for _record, blobs in line.records(*(f"grey-{level}" for level in levels))]
    steps = np.diff([np.frombuffer(tensor, np.float32).mean() for tensor in tensors])
    assert steps.min() > 0
    assert steps.max() < steps.min() * 1.01 + 1e-6


def test_the_policy_says_what_is_kept_and_counts_at_once(line: Line, part_jpeg: bytes) -> None:
    assert line.rule(NEVER).status_code == 200
    assert line.service.predict(part_jpeg)["evidence_id"] is None
    assert line.rule(SAMPLED).status_code == 200
    kept = line.service.predict(part_jpeg)
    assert kept["evidence_id"] == kept["request_id"]
    assert captured(line.service, "sampled") == 1
    assert line.rule(NEVER).status_code == 200
    assert line.service.predict(part_jpeg)["evidence_id"] is None
    refused = line.rule({"evry": 2})
    assert refused.status_code == 422
    assert "policy.capture.evry: not a part of a policy. Known: rate, every" in refused.text
    refused = line.rule({"labels": ["scrach"]})
    assert refused.status_code == 422
    assert "policy.capture.labels: no model has label 'scrach'. Did you mean 'scratch'?" in refused.text


def test_evidence_on_demand(line: Line, part_jpeg: bytes) -> None:
    assert line.rule(NEVER).status_code == 200
    source = {"kind": "inline", "content_type": "image/jpeg", "data": base64.b64encode(part_jpeg).decode()}
    assert line.service.infer(source=source)["evidence_id"] is None
    asked = line.service.infer(source=source, capture=True, context={"station": "try-it"})
    assert asked["evidence_id"] == asked["request_id"]
    ((record, _blobs),) = line.records(asked["request_id"])
    assert record["eventMetadata"]["why"] == "asked for"


def test_what_is_not_judged_is_evidence_and_what_is_no_part_is_not(line: Line, part_jpeg: bytes) -> None:
    assert line.rule({"always": ["unknown"]}).status_code == 200
    for name in ("error", "truncated"):
        answer = line.service.infer(source={"kind": "camera", "camera": name}, id=name)
        assert (answer["status"], answer["evidence_id"]) == ("failed", name)
    rejected = line.service.infer(source={"kind": "camera", "camera": "none"})
    assert (rejected["status"], rejected["evidence_id"]) == ("rejected", None)
    (none, _), (half, pictures) = line.records("error", "truncated")
    assert none["deviceFleetAuxiliaryInputs"] == []
    assert list(pictures.values()) == [part_jpeg[:5000]]
    assert json.loads(half["deviceFleetAuxiliaryOutputs"][0]["data"])["code"] == "image-truncated"
    assert line.service.http.put("/v1/policy", json={"enabled": False}).status_code == 200
    disabled = line.service.infer(source={"kind": "camera", "camera": "error"})
    assert (disabled["status"], disabled["evidence_id"]) == ("disabled", None)


def test_masks_of_a_station_are_in_what_is_kept(line: Line, part_jpeg: bytes) -> None:
    assert line.rule(SAMPLED | {"keep": ["image", "overlay"]}).status_code == 200
    headers = {"content-type": "image/jpeg", "x-request-id": "masked"}
    path = "/v1/models/surface-defect/predict?station=press-9"
    assert line.service.http.post(path, content=part_jpeg, headers=headers).json()["evidence_id"] == "masked"
    ((_record, blobs),) = line.records("masked")
    assert len(blobs) == 2
    for name, data in blobs.items():
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels[40:232].max() < 20, name
        assert pixels[250:].mean() > 100, name


def test_the_same_part_asked_again_is_one_record_also_after_a_restart(
    keeping: Start, part_jpeg: bytes, tmp_path: Path
) -> None:
    service = keeping(SAMPLED)
    first = service.predict(part_jpeg, x_request_id="same")
    assert service.predict(part_jpeg, x_request_id="same") == first
    service.stop()
    service = keeping(SAMPLED)
    assert service.predict(part_jpeg, x_request_id="same")["evidence_id"] == "same"
    assert len(records(tmp_path / "spool")) == 1
    assert captured(service, "sampled") == 0  # it was kept before


def test_an_answer_does_not_wait_for_a_slow_disk(keeping: Start, part_jpeg: bytes, tmp_path: Path) -> None:
    service = keeping(SAMPLED, capture={"wait_ms": 0})
    answer = service.predict(part_jpeg, x_request_id="later")
    assert answer["evidence_id"] is None
    block_until(lambda: captured(service, "sampled") == 1)
    with spool_of(tmp_path / "spool") as spool:
        assert spool.find("later") == "waiting"


def test_the_deadline_is_kept_while_the_disk_is_away(
    keeping: Start, part_jpeg: bytes, tmp_path: Path, hold_the_disk: Callable[[Path], Any]
) -> None:
    service = keeping(SAMPLED, capture={"wait_ms": 10_000})
    assert service.predict(part_jpeg)["evidence_id"] is not None
    with hold_the_disk(tmp_path / "spool"):
        answer = service.predict(part_jpeg, x_request_id="held", x_deadline_ms="500")
        assert (answer["status"], answer["evidence_id"]) == ("ok", None)
    block_until(lambda: captured(service, "sampled") == 2)


@pytest.fixture
def hold_the_disk() -> Callable[[Path], Any]:
    """Return what keeps everybody from writing to a spool's records: its write lock, held."""
    import fcntl  # noqa: PLC0415

    @contextmanager
    def hold(folder: Path) -> Iterator[None]:
        descriptor = os.open(folder / "locks" / "records.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    return hold


def test_the_line_goes_on_where_the_spool_is_full_and_keeps_again_when_it_is_not(
    start_inference: Start, triton_server: Any, part_jpeg: bytes, tmp_path: Path
) -> None:
    service = start_inference(
        spool={"folder": str(tmp_path / "spool"), "max_bytes": 1024 * 1024, "when_full": "refuse"},
        triton={"url": triton_server.grpc},
        policy={"capture": {"rate": 1.0}},
        capture={"wait_ms": 10_000},
    )
    answers = [service.predict(part_jpeg) for _ in range(1024 * 1024 // len(part_jpeg) + 3)]
    assert {one["status"] for one in answers} == {"ok"}
    assert answers[0]["evidence_id"] is not None
    assert answers[-1]["evidence_id"] is None
    full = sum(one["evidence_id"] is None for one in answers)
    assert service.metric('lineside_inference_captures_dropped_total{reason="spool-full"}') == full
    (link,) = (one for one in service.http.get("/readyz").json()["connections"] if one["name"] == "spool")
    assert link["state"] == "BACKOFF"
    assert service.http.get("/readyz").status_code == 200
    assert service.log.read_text().count("evidence was dropped") == 1
    with spool_of(tmp_path / "spool") as spool:  # a forwarder ships all
        spool.register(["disk"])
        for run in spool.unsealed():
            spool.seal(run, 1000, 1 << 30)
        while (lease := spool.lease("disk")) is not None:
            spool.confirm(lease)
    assert service.predict(part_jpeg)["evidence_id"] is not None
    (link,) = (one for one in service.http.get("/readyz").json()["connections"] if one["name"] == "spool")
    assert link["state"] == "ONLINE"


def test_the_line_goes_on_where_the_spools_folder_cannot_be_used(
    start_inference: Start, triton_server: Any, part_jpeg: bytes, tmp_path: Path
) -> None:
    (tmp_path / "spool").write_text("a file, where the folder should be")
    service = start_inference(
        spool={"folder": str(tmp_path / "spool")},
        triton={"url": triton_server.grpc},
        policy={"capture": {"rate": 1}},
        capture={"wait_ms": 10_000},
    )
    answer = service.predict(part_jpeg)
    assert (answer["status"], answer["evidence_id"]) == ("ok", None)
    assert service.metric('lineside_inference_captures_dropped_total{reason="not-open"}') == 1
    (tmp_path / "spool").unlink()
    block_until(lambda: service.predict(part_jpeg)["evidence_id"] is not None)


def test_without_a_folder_nothing_is_kept_and_it_is_said_once(
    start_inference: Start, triton_server: Any, part_jpeg: bytes
) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, policy={"capture": {"rate": 1.0}})
    for _ in range(3):
        assert service.predict(part_jpeg)["evidence_id"] is None
    assert service.log.read_text().count("no evidence is kept") == 1
    assert all(one["name"] != "spool" for one in service.http.get("/readyz").json()["connections"])


def told(request_id: str, verdict: str | None = "unknown", **more: Any) -> dict[str, Any]:
    known = {"schema": "lineside/outcome/1", "request_id": request_id, "verdict": verdict, "model": "surface-defect"}
    about = {"trigger": "t", "station": "press-9", "part_id": "P-9", "origin": "deadline", "cause": "deadline"}
    return known | about | {"reason": "no verdict 20 ms before the deadline", "deadline_ms": 400} | more


def test_each_unknown_of_the_bridges_own_is_evidence_and_what_the_plc_got_is_what_counts(line: Line) -> None:
    http = line.service.http
    policy = {"capture": {"always": ["unknown"]}, "thresholds": {"default": 0.0}}  # every part fails, and none is kept
    assert http.put("/v1/policy", json=policy).status_code == 200
    before = http.get("/v1/counts").json()
    context = {"station": "press-9", "part_id": "P-9"}
    for name, first in (("late-1", "result"), ("late-2", "outcome"), ("fine-1", "result")):
        outcome = told(name) if name != "fine-1" else told(name, "fail", origin="judged", cause="ok")
        if first == "outcome":
            assert http.post("/v1/outcomes", json=outcome).status_code == 204
        answer = line.service.infer(
            source={"kind": "camera", "camera": "good"}, context=context, id=name, deadline_ms=60_000
        )
        assert answer["verdict"] == "fail", answer
        if first == "result":
            assert http.post("/v1/outcomes", json=outcome).status_code == 204
        assert http.post("/v1/outcomes", json=outcome).status_code == 204  # told again: nothing changes
    assert http.post("/v1/outcomes", json=told("alone", None, asked=False, origin="refused", cause="gone")).is_success
    found = records(line.folder)
    assert {key for key in found if key.startswith(("late", "fine", "alone"))} == {
        "late-1-outcome",
        "late-2",  # the model came after the PLC was answered: its own record is kept, with the picture
        "late-2-outcome",
        "alone-outcome",
    }
    record, blobs = found["late-1-outcome"]
    metadata = record["eventMetadata"]
    assert (metadata["requestId"], metadata["verdict"], metadata["judged"]) == ("late-1", "unknown", "fail")
    assert json.loads(record["deviceFleetAuxiliaryOutputs"][0]["data"])["cause"] == "deadline"
    (picture,) = blobs.values()
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert pixels[: len(pixels) // 2 - 8].max() < 16  # the station's mask
    after = http.get("/v1/counts").json()
    assert {name: after[name] - before[name] for name in ("passed", "failed", "unknown")} == {
        "passed": 0,
        "failed": 1,
        "unknown": 3,
    }
    (part,) = http.get("/v1/parts", params={"part_id": "P-9", "verdict": "fail"}).json()["parts"]
    assert part["id"] == "fine-1"
    origin = 'lineside_inference_outcomes_total{model="surface-defect",origin="deadline",verdict="unknown"}'
    assert line.service.metric(origin) == 2


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "not-json"),
        (b'{"schema":"lineside/result/1"}', 400, "schema-unsupported"),
        (json.dumps(told("../../x")).encode(), 422, "message-invalid"),
        (json.dumps(told("r", "passed")).encode(), 422, "message-invalid"),
        (json.dumps(told("r", reason="x" * 601)).encode(), 422, "message-invalid"),
        (b" " * 70_000, 413, "body-too-large"),
    ],
)
def test_an_outcome_that_is_none_is_refused(line: Line, body: bytes, status: int, code: str) -> None:
    answer = line.service.http.post("/v1/outcomes", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
