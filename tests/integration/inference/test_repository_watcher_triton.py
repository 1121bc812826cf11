"""One model that is wrong is out by name and the others serve; it comes in when it is mended, and so does a new one."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.constant_models import HEIGHT, WIDTH, write
from tests.support.inference_service import Inference
from tests.support.triton_server import TritonServer
from tests.support.waiting import block_until

HEAD = {"name": "y", "head": "score"}
PICTURE = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
SOURCE = {"kind": "inline", "content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}


def put(repository: Path, name: str, value: float = 0.25, **fields: Any) -> Path:
    """Write a model that scores this value; return its file."""
    write(repository, name, {"y": np.array([value], np.float32)}, HEAD, labels=["wear"], defects=["wear"], **fields)
    return repository / name / "1" / "model.onnx"


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[TritonServer]:
    repository = tmp_path / "models"
    put(repository, "whole")
    put(repository, "incomplete")
    (repository / "incomplete" / "card.yaml").write_text("name: incomplete\n")
    unloadable = put(repository, "unloadable")
    unloadable.write_bytes(b"no ONNX")
    card = repository / "unloadable" / "card.yaml"
    card.write_text(card.read_text().replace(digest(put(tmp_path / "same", "unloadable")), digest(unloadable)))
    server = TritonServer(tmp_path, repository)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def link(service: Inference, name: str) -> Any:
    """Return a model's connection as /readyz shows it."""
    found = service.http.get("/readyz").json()["connections"]
    return next((one for one in found if one["name"] == f"model/{name}"), {"state": None, "detail": ""})


def until(service: Inference, name: str, state: str, said: str = "") -> Any:
    def arrived() -> Any:
        now = link(service, name)
        return now if now["state"] == state and said in now["detail"] else None

    return block_until(arrived, lambda: link(service, name))


def is_served(triton: TritonServer, name: str) -> bool:
    try:
        return httpx.get(f"{triton.http}/v2/models/{name}/ready").status_code == HTTPStatus.OK
    except httpx.TransportError:
        return False


def judge(service: Inference, model: str) -> Any:
    return service.infer(model=model, source=SOURCE)


def test_one_model_that_is_wrong_leaves_the_others_serving(
    start_inference: Callable[..., Inference], triton: TritonServer, tmp_path: Path
) -> None:
    repository = triton.repository
    settings = {"model_repository": str(repository), "state_dir": str(tmp_path / "state")}
    policy = {"enabled": True, "thresholds": {"wear": 0.2}}
    service = start_inference(
        triton={"url": triton.grpc, "health_ms": 100, "slot_bytes": 4096},
        models={"look_s": 0.2},
        policy=policy,
        **settings,
    )
    assert judge(service, "whole")["verdict"] == "fail"

    out = until(service, "incomplete", "BACKOFF")
    assert "incomplete/card.yaml" in out["detail"]
    assert "schema" in out["detail"]
    result = judge(service, "incomplete")
    assert (result["status"], result["verdict"], result["code"]) == ("failed", "unknown", "model-out")
    until(service, "unloadable", "BACKOFF", "INVALID_PROTOBUF")
    assert service.http.get("/readyz").status_code == 200
    listed = {model["name"]: model for model in service.http.get("/v1/models").json()["models"]}
    assert (listed["incomplete"]["state"], listed["whole"]["state"]) == ("out", "ONLINE")
    assert listed["unloadable"]["state"] in {"BACKOFF", "CONNECTING"}
    assert "card.yaml" in listed["incomplete"]["detail"]
    answer = service.http.post("/v1/models/incomplete/versions/1/load")
    assert (answer.status_code, answer.json()["code"]) == (422, "model-out")

    # Mended, and a new one, without a restart.
    put(tmp_path / "mended", "incomplete", 0.125)
    for part in ("1/model.onnx", "card.yaml"):
        (repository / "incomplete" / part).write_bytes((tmp_path / "mended" / "incomplete" / part).read_bytes())
    put(repository, "later", 0.5)
    numbers = {"name": "y", "head": "raw", "shape": [7, 8400]}  # more than a slot has
    write(repository, "large", {"y": np.zeros((7, 8400), np.float32)}, numbers)
    unfit = {"name": "y", "head": "anomaly", "range": [0, 1], "kind": "score"}
    assert service.http.put("/v1/policy", json={"thresholds": {"wear": 0.2, "default": 9}}).status_code == 200
    write(repository, "unfit", {"y": np.zeros(1, np.float32)}, unfit, labels=["crack"], defects=["crack"])
    for name, verdict in (("incomplete", "pass"), ("later", "fail"), ("large", "unknown")):
        until(service, name, "ONLINE")
        result = judge(service, name)
        assert (result["status"], result["verdict"]) == ("ok", verdict)
    until(service, "unfit", "BACKOFF", "thresholds.default: 9 is never reached")
    assert service.metric('lineside_inference_model_version_number{model="later"}') == 1
    assert service.metric('lineside_inference_requests_total{model="later",status="ok"}') == 1

    # Overwritten under the running Triton: what was loaded goes on under its digest, what would be loaded does not.
    before = judge(service, "later")["model"]["digest"]
    file, kept = repository / "later" / "1" / "model.onnx", (repository / "later" / "1" / "model.onnx").read_bytes()
    file.write_bytes(put(tmp_path / "changed", "later", 0.0625).read_bytes())
    assert judge(service, "later")["verdict"] == "fail"
    triton.kill()
    triton.start()
    until(service, "later", "BACKOFF", "has SHA-256")
    result = service.infer(model="later", source=SOURCE, deadline_ms=5000)
    assert (result["status"], result["verdict"], result["code"]) == ("failed", "unknown", "engine-unavailable")
    assert "has SHA-256" in result["reason"]
    until(service, "whole", "ONLINE")
    assert judge(service, "whole")["verdict"] == "fail"
    service.wait_for("/readyz")
    file.write_bytes(kept)
    until(service, "later", "ONLINE")
    result = judge(service, "later")
    assert (result["verdict"], result["model"]["digest"]) == ("fail", before)


def test_a_restart_that_one_request_noticed_is_noticed_for_every_model(
    start_inference: Callable[..., Inference], triton: TritonServer, tmp_path: Path
) -> None:
    put(triton.repository, "second")
    settings = {"url": triton.grpc, "health_ms": 60_000}
    service = start_inference(model_repository=str(triton.repository), triton=settings, models={"look_s": 0.2})
    until(service, "second", "ONLINE")
    assert judge(service, "second")["verdict"] == "pass"
    file = triton.repository / "second" / "1" / "model.onnx"
    file.write_bytes(put(tmp_path / "changed", "second", 0.75).read_bytes())
    triton.kill()
    triton.start()
    block_until(lambda: is_served(triton, "second"))
    assert judge(service, "whole")["verdict"] == "pass"
    result = service.infer(model="second", source=SOURCE, deadline_ms=5000)
    assert (result["status"], result["code"]) == ("failed", "engine-unavailable"), result
    until(service, "second", "BACKOFF", "has SHA-256")
