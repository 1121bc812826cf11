"""POST /v1/capture, GET /v1/capture/{id} and GET /v1/evidence of the real service, on a real spool; Triton is away."""

import base64
import fcntl
import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lineside.spool import Lease, Spool, SpoolSettings
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
MODEL = "surface-defect"
LARGE = {"name": "image.jpg", "encoding": "NONE", "data": base64.b64encode(os.urandom(200_000)).decode()}
STRICT = {"CaptureDataBatchSize": 1, "CaptureDataBufferSize": 2, "strict": True}


def capture_id() -> str:
    return f"capture{os.urandom(6).hex()}"


def post(service: Any, **fields: Any) -> Any:
    body = {"capture_id": capture_id(), "model": MODEL} | fields
    return service.http.post("/v1/capture", json=body)


def status(service: Any, key: str) -> tuple[int, str]:
    answer = service.http.get(f"/v1/capture/{key}")
    return answer.status_code, answer.json()["status" if answer.is_success else "code"]


def spool_of(folder: Path, **settings: Any) -> Spool:
    return Spool.open(SpoolSettings.model_validate({"folder": folder, **settings}))


def next_batch(spool: Spool, destination: str) -> Lease:
    """Seal what is there and lease the first batch."""
    for run in spool.unsealed():
        assert spool.seal(run, 1000, 10**9)
    lease = spool.lease(destination)
    assert lease
    return lease


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence") / "spool"


@pytest.fixture(scope="module")
def service(start_shared: Start, folder: Path) -> Any:
    return start_shared(
        ready="/livez", thing="box-7", spool={"folder": str(folder)}, capture={"models": ["their-own"], "queue": 8}
    )


@pytest.fixture
def forwarder(folder: Path, service: Any) -> Iterator[Spool]:
    """The forwarder's side of the service's spool, with everything delivered so far."""
    assert service.process.poll() is None
    with spool_of(folder, refusals=2) as spool:
        spool.register(["cloud"])
        for run in spool.unsealed():
            spool.seal(run, 1000, 10**9)
        while lease := spool.lease("cloud"):
            spool.confirm(lease)
        yield spool


def test_a_capture_is_on_the_disk_when_it_is_answered(service: Any, forwarder: Spool) -> None:
    tensor = {"name": "x", "datatype": "UINT8", "shape": [2], "data": "AQI="}
    answer = post(service, capture_id="capture1700000000", inputs=[tensor], auxiliary_inputs=[LARGE])
    assert (answer.status_code, answer.json()["status"]) == (202, "IN_PROGRESS")
    assert answer.json()["capture_id"] == "capture1700000000"
    (record,) = forwarder.iterate()
    about = json.loads(record.body)
    assert (record.key, record.stream, record.kept) == ("capture1700000000", MODEL, "always")
    assert about["eventMetadata"]["deviceId"] == "box-7"
    assert about["eventMetadata"]["modelVersion"] == "1"
    assert about["deviceFleetInputs"][0]["data"] == "AQI="
    with forwarder.open_blob(record.blobs[0]) as blob:
        assert blob.read() == base64.b64decode(LARGE["data"])


def test_its_status_follows_it_to_the_destination(service: Any, forwarder: Spool) -> None:
    key = post(service).json()["capture_id"]
    assert status(service, key) == (200, "IN_PROGRESS")
    forwarder.confirm(next_batch(forwarder, "cloud"))
    assert status(service, key) == (200, "SUCCESS")
    assert post(service, capture_id=key).json()["code"] == "capture-exists"


def test_what_a_destination_refuses_for_good_is_a_failure_that_says_what_to_do(service: Any, forwarder: Spool) -> None:
    key = post(service).json()["capture_id"]
    while not forwarder.refuse(next_batch(forwarder, "cloud"), "400 MalformedXML"):
        pass
    answer = service.http.get(f"/v1/capture/{key}").json()
    assert answer["status"] == "FAILURE"
    assert "lineside spool list" in answer["detail"]
    assert forwarder.retry("cloud") == 1
    assert status(service, key) == (200, "IN_PROGRESS")


def test_the_same_id_is_taken_once_however_many_ask(service: Any, forwarder: Spool) -> None:
    key = capture_id()
    with ThreadPoolExecutor(6) as threads:
        codes = sorted(answer.status_code for answer in threads.map(lambda _: post(service, capture_id=key), range(6)))
    assert codes == [202, *[409] * 5]
    assert [record.key for record in forwarder.iterate()] == [key]


def test_what_is_not_on_the_disk_yet_is_in_progress(service: Any, forwarder: Spool, folder: Path) -> None:
    key = capture_id()
    assert status(service, key) == (404, "capture-unknown")
    with (folder / "locks" / "records.lock").open("rb") as others, ThreadPoolExecutor(1) as threads:
        fcntl.flock(others, fcntl.LOCK_EX)  # another process writes
        taking = threads.submit(post, service, capture_id=key)
        block_until(lambda: status(service, key) == (200, "IN_PROGRESS"))
        assert not [record.key for record in forwarder.iterate()]
        assert not taking.done()
        fcntl.flock(others, fcntl.LOCK_UN)
        assert taking.result().status_code == 202
    assert status(service, key) == (200, "IN_PROGRESS")
    assert [record.key for record in forwarder.iterate()] == [key]


def test_a_capture_survives_the_service_that_took_it(start_inference: Start, tmp_path: Path) -> None:
    settings = {"spool": {"folder": str(tmp_path / "spool")}}
    service = start_inference("/livez", **settings)
    key = post(service).json()["capture_id"]
    service.process.send_signal(signal.SIGKILL)
    service.process.wait(HANG_S)
    again = start_inference("/livez", **settings)
    assert status(again, key) == (200, "IN_PROGRESS")
    assert post(again, capture_id=key).status_code == 409


def test_each_refusal_is_edge_managers(service: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    refusals = [
        (post(service, capture_id="a.b"), 422, "message-invalid"),
        (
            post(service, inputs=[{"name": "x", "datatype": "FP32", "shape": [2], "data": "AQI="}]),
            422,
            "message-invalid",
        ),
        (post(service, inference_timestamp=soon), 422, "capture-in-future"),
        (post(service, model="nobody"), 404, "model-unknown"),
        (service.http.post("/v1/capture", content=b"{"), 400, "not-json"),
        (
            service.http.post("/v1/capture", content=b"{}", headers={"content-type": "text/csv"}),
            415,
            "content-type-unsupported",
        ),
        (service.http.post("/v1/capture", content=b"x" * 5 * 2**20), 413, "body-too-large"),
        (service.http.get("/v1/capture/never-seen"), 404, "capture-unknown"),
    ]
    for answer, code, name in refusals:
        assert (answer.status_code, answer.json()["code"]) == (code, name)
        assert answer.headers["content-type"] == "application/problem+json"
    assert "inference.capture.models" in refusals[3][0].json()["detail"]
    assert post(service, model="their-own").status_code == 202


def test_a_full_spool_is_said_and_drains(start_inference: Start, tmp_path: Path) -> None:
    bounds = {"max_bytes": 2**20, "when_full": "refuse"}
    service = start_inference("/livez", spool={"folder": str(tmp_path / "spool"), **bounds})
    answers = [post(service, auxiliary_inputs=[LARGE]) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[-1].json()["code"] == "spool-full"
    assert int(answers[-1].headers["retry-after"]) > 0
    evidence = service.http.get("/v1/evidence").json()
    assert evidence["waiting"]["records"] == 5
    assert evidence["missed"] == {"spool-full": 1}
    assert "bound" in [need["about"] for need in evidence["needs"]]
    with spool_of(tmp_path / "spool", **bounds) as spool:
        spool.register(["disk"])
        spool.confirm(next_batch(spool, "disk"))
    assert post(service, auxiliary_inputs=[LARGE]).status_code == 202


def test_a_spool_that_cannot_be_opened_is_said_and_tried_again(start_inference: Start, tmp_path: Path) -> None:
    place = tmp_path / "spool"
    place.write_text("in the way")
    service = start_inference("/livez", spool={"folder": str(place)})
    answer = post(service)
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence-not-kept")
    evidence = service.http.get("/v1/evidence").json()
    assert (evidence["configured"], evidence["kept"]) == (True, False)
    assert str(place) in evidence["reason"]
    place.unlink()
    service.wait_for("/v1/capture/never-seen", 404)
    assert post(service).status_code == 202


def test_without_a_spool_nothing_is_taken_and_it_says_what_to_set(start_inference: Start) -> None:
    service = start_inference("/livez")
    answer = post(service)
    assert (answer.status_code, answer.json()["code"]) == (503, "evidence-not-kept")
    assert "spool.folder" in answer.json()["detail"]
    assert status(service, "x") == (503, "evidence-not-kept")
    evidence = service.http.get("/v1/evidence").json()
    assert (evidence["configured"], evidence["kept"]) == (False, False)
    assert "spool.folder" in evidence["reason"]


def test_strict_refuses_as_the_agent_did(start_inference: Start, tmp_path: Path) -> None:
    place = tmp_path / "spool"
    service = start_inference("/livez", spool={"folder": str(place)}, edge_manager=STRICT)
    away = post(service)
    assert (away.status_code, away.json()["code"]) == (503, "destination-away")
    assert "FAILED_PRECONDITION" in away.json()["detail"]
    with spool_of(place) as spool:
        spool.register(["cloud"])
        spool.report("cloud", "CONNECTING", "nothing to send yet")
        assert post(service).status_code == 202
        spool.confirm(next_batch(spool, "cloud"))
        spool.report("cloud", "BACKOFF", "no route to host")
        assert "no route to host" in post(service).json()["detail"]
        spool.report("cloud", "ONLINE", "")
        with ThreadPoolExecutor(5) as threads:
            codes = sorted(answer.status_code for answer in threads.map(lambda _: post(service), range(5)))
        assert codes == [202, 202, 429, 429, 429]
        spool.confirm(next_batch(spool, "cloud"))
        assert post(service).status_code == 202
    gone = post(service)
    assert (gone.status_code, gone.json()["code"]) == (503, "destination-away")
    assert "no forwarder runs here" in gone.json()["detail"]


def test_evidence_says_where_each_destination_stands(service: Any, forwarder: Spool) -> None:
    forwarder.report("cloud", "BACKOFF", "403 AccessDenied")
    before = forwarder.status().destinations[0].delivered_records
    post(service, auxiliary_inputs=[LARGE])
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: service.http.get("/v1/evidence"), range(16)))
    assert {answer.status_code for answer in answers} == {200}

    def waits() -> Any:
        evidence = service.http.get("/v1/evidence").json()
        return evidence if evidence["waiting"]["records"] == 1 else None

    evidence = block_until(waits)
    (cloud,) = evidence["destinations"]
    assert evidence["waiting"]["bytes"] > 200_000
    assert evidence["waiting"]["oldest"]
    assert (cloud["name"], cloud["state"], cloud["detail"]) == ("cloud", "BACKOFF", "403 AccessDenied")
    assert (cloud["waiting"], cloud["delivered"], cloud["dead"]) == (1, before, 0)
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()
