"""A request in, a verdict out, through real HTTP and a real Triton."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.inference_service import inline
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

WINDOW = [1500.0, 40.0, 1.2, 45.0] * 64
Start = Callable[..., Any]


def window(**fields: Any) -> dict[str, Any]:
    tensor = {"name": "window", "datatype": "FP32", "shape": [64, 4], "values": WINDOW} | fields
    return {"kind": "tensors", "tensors": [tensor]}


def test_every_source_means_the_same(
    start_inference: Start, triton_server: Any, camera: Any, part_jpeg: bytes, tmp_path: Path
) -> None:
    (tmp_path / "part.jpg").write_bytes(part_jpeg)
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={"station-1": {"url": f"{camera.url}/good"}},
        file_roots=[str(tmp_path)],
    )
    context = {"station": "station-1", "part_id": "P-1", "shift": 2}
    results = [
        service.infer(source={"kind": "camera", "camera": "station-1"}, context=context),
        service.infer(source={"kind": "file", "path": "part.jpg"}, context=context),
        service.infer(source=inline(part_jpeg), context=context),
        service.predict(part_jpeg, x_deadline_ms="60000"),
    ]
    for result in results:
        assert result["status"] == "ok", result
        assert result["verdict"] in {"pass", "fail", "unknown"}
        assert result["scores"] == results[0]["scores"]
        assert result["reason"] == results[0]["reason"]
        assert result["model"]["digest"].startswith("sha256:")
        stages = result["timing_ms"]
        assert stages["total"] >= stages["decode"] + stages["infer"] + stages["interpret"]
    assert results[0]["context"] == context | {"tags": {}}
    assert results[0]["timing_ms"]["source"] > 0
    assert results[2]["timing_ms"]["source"] is None
    assert service.metric('lineside_inference_requests_total{model="surface-defect",status="ok"}') == 4


def test_numbers_are_judged(start_inference: Start, triton_server: Any) -> None:
    service = start_inference(triton={"url": triton_server.grpc})
    result = service.infer(model="spindle-anomaly", source=window())
    assert result["status"] == "ok"
    assert result["verdict"] in {"pass", "fail"}
    assert list(result["scores"]) == ["anomaly"]


def test_shared_memory_and_bytes_agree(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    shared = start_inference(triton={"url": triton_server.grpc})
    bytewise = start_inference(triton={"url": triton_server.grpc, "shared_memory": "off"})
    assert shared.http.get("/v1/engine").json()["transport"] == "shared-memory"
    assert bytewise.http.get("/v1/engine").json()["transport"] == "bytes"
    assert shared.predict(part_jpeg)["scores"] == bytewise.predict(part_jpeg)["scores"]
    one, other = (service.infer(model="spindle-anomaly", source=window()) for service in (shared, bytewise))
    assert one["scores"] == other["scores"]


def test_many_at_once_do_not_mix_up_their_slots(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, limits={"queue": 1000})
    windows = [window(values=[value * (1 + step / 50) for value in WINDOW]) for step in range(8)]
    alone = [service.infer(model="spindle-anomaly", source=source)["scores"] for source in windows]
    picture = service.predict(part_jpeg)["scores"]
    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(service.infer, model="spindle-anomaly", source=windows[n % 8]) for n in range(160)]
        pictures = [pool.submit(service.predict, part_jpeg) for _ in range(40)]
    for number, job in enumerate(jobs):
        assert job.result()["scores"]["anomaly"] == pytest.approx(alone[number % 8]["anomaly"], rel=1e-3)
    for job in pictures:
        assert job.result()["scores"] == pytest.approx(picture, abs=1e-3)
    assert service.metric('lineside_inference_arena_slots{state="used"}') == 0
    assert service.metric('lineside_inference_arena_slots{state="quarantined"}') == 0


def test_the_same_id_is_answered_byte_for_byte_and_runs_once(
    start_inference: Start, triton_server: Any, camera: Any
) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, cameras={"station-1": {"url": f"{camera.url}/good"}})
    body = {
        "schema": "lineside/request/1",
        "id": "part-1",
        "model": "surface-defect",
        "source": {"kind": "camera", "camera": "station-1"},
    }
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: service.http.post("/v1/infer", json=body).content, range(8)))
    assert len(set(answers)) == 1
    assert camera.asked == 1
    other = service.infer(id="part-1", source={"kind": "camera", "camera": "station-2"})
    assert (other["status"], other["code"]) == ("rejected", "id-reused")
    assert service.metric("lineside_inference_repeats_total") == 7


def test_policy_rules(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    strict = start_inference(triton={"url": triton_server.grpc}, policy={"thresholds": {"default": 1}})
    assert strict.predict(part_jpeg)["verdict"] == "unknown"
    off = start_inference(triton={"url": triton_server.grpc}, policy={"enabled": False})
    result = off.predict(part_jpeg)
    assert (result["status"], result["verdict"], result["code"]) == ("disabled", "unknown", "disabled")


def test_a_stop_leaves_no_shared_memory(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    service = start_inference(triton={"url": triton_server.grpc})
    assert service.predict(part_jpeg)["status"] == "ok"
    pid = service.process.pid
    assert list(Path("/dev/shm").glob(f"lineside-{pid}-*"))
    service.stop()
    assert service.process.returncode == 0
    assert '"event": "stopped"' in service.log.read_text()
    assert not list(Path("/dev/shm").glob(f"lineside-{pid}-*"))


def test_after_a_kill_the_next_start_cleans_up(start_inference: Start, triton_server: Any, part_jpeg: bytes) -> None:
    killed = start_inference(triton={"url": triton_server.grpc})
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait(HANG_S)
    assert list(Path("/dev/shm").glob(f"lineside-{killed.process.pid}-*"))
    service = start_inference(triton={"url": triton_server.grpc})
    assert not list(Path("/dev/shm").glob(f"lineside-{killed.process.pid}-*"))
    assert service.predict(part_jpeg)["status"] == "ok"
    assert "triton forgets the shared memory" in service.log.read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inference: {model_repository: nowhere}", "model repository nowhere is not a folder"),
        ("inference: {trton: {}}", "did you mean 'triton'"),
        ("inference: {policy: {thresholds: {scrach: 0.5}}}", "Did you mean 'scratch'"),
    ],
)
def test_wrong_configuration_stops_the_start(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "lineside.yaml"
    config.write_text(text)
    ended = subprocess.run(
        [sys.executable, "-m", "lineside_inference", str(config)],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        cwd=ROOT,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
