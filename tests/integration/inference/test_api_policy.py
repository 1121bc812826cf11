"""The operator's policy over HTTP, applied to a running line and kept over a restart."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.inference_service import inline
from tests.support.waiting import HANG_S, block_until

Start = Callable[..., Any]
DEFECT = {"thresholds": {"default": 0.0}}  # every defect's score is at or above it: the part fails


def test_a_threshold_changes_the_next_verdict(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    service = start_inference(triton={"url": triton_server.grpc})
    before = service.predict(part_jpeg)["verdict"]
    seen = service.http.get("/v1/policy")
    answer = service.http.put("/v1/policy", json=DEFECT, headers={"If-Match": seen.headers["etag"]})
    assert answer.status_code == 200
    assert answer.headers["etag"] != seen.headers["etag"]
    assert service.predict(part_jpeg)["verdict"] == "fail" != before
    late = service.http.put("/v1/policy", json={}, headers={"If-Match": seen.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "policy-changed")
    assert late.headers["etag"] == answer.headers["etag"] == service.http.get("/v1/policy").headers["etag"]


def test_a_wrong_policy_is_refused_with_all_its_errors(start_inference: Start, triton_server: Any) -> None:
    service = start_inference(triton={"url": triton_server.grpc})
    before = service.http.get("/v1/policy")
    wrong = {"thresholds": {"scrach": 0.5}, "models": {"surface-defect": "9", "spindel-anomaly": "1"}}
    answer = service.http.put("/v1/policy", json=wrong)
    problem = answer.json()
    assert (answer.status_code, problem["code"], len(problem["errors"])) == (422, "policy-invalid", 3)
    assert "Did you mean 'scratch'?" in problem["errors"][0]
    assert "Did you mean 'spindle-anomaly'?" in problem["errors"][2]
    assert service.http.get("/v1/policy").content == before.content
    assert service.http.put("/v1/policy", content=b"{", headers={"content-type": "text/plain"}).status_code == 415
    assert service.http.put("/v1/policy", content=b"x" * 5 * 2**20).status_code == 413


def test_the_policy_survives_a_restart_and_a_broken_file_does_not_stop_it(
    start_inference: Start, triton_server: Any, part_jpeg: bytes, tmp_path: Path
) -> None:
    settings = {"triton": {"url": triton_server.grpc}, "state_dir": str(tmp_path / "state")}
    service = start_inference(**settings)
    assert service.http.put("/v1/policy", json=DEFECT).status_code == 200
    service.process.kill()
    service.process.wait()
    again = start_inference(**settings)
    assert again.predict(part_jpeg)["verdict"] == "fail"
    again.stop()
    (tmp_path / "state" / "policy.json").write_text("{")
    third = start_inference(**settings)
    assert third.http.get("/v1/policy").json()["thresholds"] == {}
    assert len(list((tmp_path / "state").glob("policy.json.bad-*"))) == 1


def test_disabling_answers_at_once_also_who_waits(
    start_inference: Start, triton_server: Any, camera: Any, part_jpeg: bytes
) -> None:
    service = start_inference(
        triton={"url": triton_server.grpc},
        limits={"concurrency": 1},
        cameras={"slow": {"url": f"{camera.url}/silent", "timeout_ms": 20_000}},
    )
    results: dict[str, Any] = {}

    def ask(name: str, source: dict[str, Any]) -> None:
        results[name] = service.infer(source=source, deadline_ms=25_000)

    working = threading.Thread(target=ask, args=("working", {"kind": "camera", "camera": "slow"}))
    working.start()
    block_until(lambda: service.metric('lineside_inference_load_requests{state="working"}') == 1)
    queued = threading.Thread(target=ask, args=("queued", inline(part_jpeg)))
    queued.start()
    block_until(lambda: service.metric('lineside_inference_load_requests{state="waiting"}') == 1)
    assert service.http.put("/v1/policy", json={"enabled": False}).status_code == 200
    queued.join(HANG_S)
    assert (results["queued"]["status"], results["queued"]["code"]) == ("disabled", "disabled")
    assert working.is_alive(), "it was answered only when its place came free"
    assert service.predict(part_jpeg)["status"] == "disabled"
    assert service.http.put("/v1/policy", json={}).status_code == 200
    camera.release.set()
    working.join(HANG_S)
    assert service.predict(part_jpeg)["status"] == "ok"
