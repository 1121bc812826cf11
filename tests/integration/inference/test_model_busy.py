"""One model whose queue is full, or that somebody unloads, is that model's matter: Triton and the others go on."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.support.constant_models import HEIGHT, WIDTH, write
from tests.support.inference_service import Inference
from tests.support.triton_server import TritonServer

HEAD = {"name": "y", "head": "score"}
PICTURE = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
SOURCE = {"kind": "inline", "content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
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


def test_a_full_queue_of_one_model_leaves_the_others_alone(
    start_inference: Callable[..., Inference], triton: TritonServer
) -> None:
    service = start_inference(
        model_repository=str(triton.repository),
        triton={"url": triton.grpc, "health_ms": 60_000},
        limits={"concurrency": 16, "queue": 16},
    )

    def judge(model: str) -> Any:
        return service.infer(model=model, source=SOURCE, deadline_ms=60_000)

    before = links(service)
    done = threading.Event()
    with ThreadPoolExecutor(7) as pool:
        slow = [pool.submit(judge, "slow") for _ in range(6)]

        def ask() -> list[Any]:
            answers = [judge("fast")]
            while not done.is_set():
                answers.append(judge("fast"))
            return answers

        fast = pool.submit(ask)
        answers = [one.result() for one in slow]
        done.set()
        others = fast.result()
    refused = [one for one in answers if one["status"] != "ok"]
    assert refused
    assert {one["code"] for one in refused} == {"engine-unavailable"}
    assert all("maximum queue size" in one["reason"] for one in refused)
    assert any(one["status"] == "ok" for one in answers)
    assert {one["status"] for one in others} == {"ok"}
    assert links(service) == before

    # Somebody unloads it: its own link brings it back, nobody else notices.
    httpx.post(f"{triton.http}/v2/repository/models/slow/unload", json={}, timeout=60).raise_for_status()
    assert judge("slow")["status"] == "ok"
    after = links(service)
    assert {name: link for name, link in after.items() if name != "model/slow"} == {
        name: link for name, link in before.items() if name != "model/slow"
    }
