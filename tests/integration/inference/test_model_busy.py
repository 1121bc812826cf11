"""A full queue or an unloaded model affects that model only: Triton counts as online and the others are served."""

import base64
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.constant_models import HEIGHT, SIDE, WIDTH, write
from tests.support.inference_service import Inference
from tests.support.triton_server import TritonServer

HEAD = {"name": "y", "head": "score"}
PICTURE = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
SOURCE = {"kind": "inline", "content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
SHAPE = (3, SIDE, SIDE)
BOUNDED = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[TritonServer]:
    outputs, labels = {"y": np.array([0.25], np.float32)}, {"labels": ["wear"], "defects": ["wear"]}
    write(tmp_path / "models", "slow", outputs, HEAD, work=15, config=BOUNDED, **labels)
    write(tmp_path / "models", "fast", outputs, HEAD, **labels)
    server = TritonServer(tmp_path, tmp_path / "models")
    server.start()
    server.wait_ready()
    yield server
    server.stop()


def links(service: Inference) -> dict[str, Any]:
    """Return since when each connection is in its state."""
    found = service.http.get("/readyz").json()["connections"]
    return {link["name"]: (link["state"], link["since"]) for link in found}


Ask = Callable[[Inference, str], tuple[str, str]]


def by_v1(service: Inference, model: str) -> tuple[str, str]:
    """Ask for a verdict; return `ok` or the code, and the reason."""
    answer = service.infer(model=model, source=SOURCE, deadline_ms=60_000)
    return answer["code"] or answer["status"], answer["reason"]


def by_v2(service: Inference, model: str) -> tuple[str, str]:
    """Ask for the outputs of zeros; return `ok` or the code, and the error."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, *SHAPE], "data": [0.0] * math.prod(SHAPE)}
    answer = service.http.post(
        f"/v2/models/{model}/infer", json={"inputs": [tensor]}, headers={"X-Deadline-Ms": "60000"}
    ).json()
    return answer.get("code", "ok"), answer.get("error", "")


@pytest.mark.parametrize("ask", [by_v1, by_v2])
def test_a_full_queue_of_one_model_leaves_the_others_alone(
    start_inference: Callable[..., Inference], triton: TritonServer, ask: Ask
) -> None:
    service = start_inference(
        model_repository=str(triton.repository),
        triton={"url": triton.grpc, "health_ms": 60_000},
        limits={"concurrency": 16, "v2_concurrency": 16, "queue": 16},
    )
    assert ask(service, "fast")[0] == "ok"
    before = links(service)
    done = threading.Event()
    with ThreadPoolExecutor(7) as pool:
        slow = [pool.submit(ask, service, "slow") for _ in range(6)]

        def ask_the_other() -> list[tuple[str, str]]:
            answers = [ask(service, "fast")]
            while not done.is_set():
                answers.append(ask(service, "fast"))
            return answers

        fast = pool.submit(ask_the_other)
        answers = [one.result() for one in slow]
        done.set()
        others = fast.result()
    refused = [one for one in answers if one[0] != "ok"]
    assert refused
    assert {code for code, _ in refused} == {"engine-unavailable"}
    assert all("maximum queue size" in reason for _, reason in refused)
    assert any(code == "ok" for code, _ in answers)
    assert {code for code, _ in others} == {"ok"}
    assert links(service) == before


def test_a_model_that_somebody_unloads_comes_back_by_itself(
    start_inference: Callable[..., Inference], triton: TritonServer
) -> None:
    service = start_inference(model_repository=str(triton.repository), triton={"url": triton.grpc, "health_ms": 60_000})
    assert by_v1(service, "slow")[0] == "ok"
    before = links(service)
    httpx.post(f"{triton.http}/v2/repository/models/slow/unload", json={}, timeout=60).raise_for_status()
    assert by_v1(service, "slow")[0] == "ok"
    after = links(service)
    assert {name: link for name, link in after.items() if name != "model/slow"} == {
        name: link for name, link in before.items() if name != "model/slow"
    }
