"""Triton comes late, is killed, hangs, comes back: every request gets an answer in time, and the line recovers."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.support.waiting import block_until, slowness

Start = Callable[..., Any]
FAST = {"health_ms": 100, "timeout_ms": 500}


def test_the_service_starts_without_triton_and_says_so(
    start_inference: Start, part_jpeg: bytes, closed_port: int
) -> None:
    url = f"127.0.0.1:{closed_port}"
    service = start_inference(ready="/livez", triton={"url": url, "health_ms": 60_000, "timeout_ms": 60_000})
    result = service.predict(part_jpeg, x_deadline_ms="300")  # its client would not wait for so long
    assert (result["status"], result["code"]) == ("failed", "engine-unavailable")
    assert url in result["reason"]
    ready = service.http.get("/readyz")
    assert ready.status_code == 503
    assert {link["name"] for link in ready.json()["connections"]} == {
        "triton",
        "model/surface-defect",
        "model/spindle-anomaly",
    }


def test_a_request_waits_for_triton_as_long_as_its_deadline_allows(
    start_inference: Start, own_triton: Any, part_jpeg: bytes
) -> None:
    service = start_inference(ready="/livez", triton=FAST | {"url": own_triton.grpc})
    own_triton.start()
    result = service.predict(part_jpeg, x_deadline_ms="60000")
    assert result["status"] == "ok", result


def test_killed_in_the_middle_and_started_again(start_inference: Start, own_triton: Any, part_jpeg: bytes) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(triton=FAST | {"url": own_triton.grpc})
    expected = service.predict(part_jpeg)["scores"]
    results: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            start = time.monotonic()
            result = service.predict(part_jpeg, x_deadline_ms="2000")
            result["took"] = time.monotonic() - start
            results.append(result)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        own_triton.kill()
        own_triton.start()
        own_triton.wait_ready()
        service.wait_for("/readyz")
        judged = sum(result["status"] == "ok" for result in results)
        block_until(
            lambda: sum(result["status"] == "ok" for result in results) >= judged + 20, lambda: str(results[-1])
        )
    finally:
        stop.set()
        asking.join()
    assert {result["status"] for result in results} == {"ok", "failed"}
    assert {result["code"] for result in results} == {None, "engine-unavailable"}
    assert max(result["took"] for result in results) < 2.0 + 0.3 * slowness()
    assert all(result["scores"] == expected for result in results if result["status"] == "ok")
    assert service.http.get("/v1/engine").json()["transport"] == "shared-memory"
    assert service.metric('lineside_inference_arena_slots{state="quarantined"}') == 0


def test_a_restart_that_nobody_noticed_is_noticed_by_the_request(
    start_inference: Start, own_triton: Any, part_jpeg: bytes
) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(triton={"url": own_triton.grpc, "health_ms": 60_000})
    assert service.predict(part_jpeg)["status"] == "ok"
    own_triton.kill()
    own_triton.start()
    own_triton.wait_ready()
    result = service.predict(part_jpeg, x_deadline_ms="60000")
    assert result["status"] == "ok", result
    assert service.http.get("/v1/engine").json()["transport"] == "shared-memory"


def test_a_triton_that_hangs_holds_its_slots_until_it_answers(
    start_inference: Start, own_triton: Any, part_jpeg: bytes
) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(
        triton=FAST | {"url": own_triton.grpc, "slots": 2, "timeout_ms": 300}, limits={"concurrency": 2}
    )
    expected = service.predict(part_jpeg)["scores"]
    quarantined = 'lineside_inference_arena_slots{state="quarantined"}'
    os.kill(own_triton.pid, signal.SIGSTOP)
    try:
        result = service.predict(part_jpeg, x_deadline_ms="300")
        assert (result["status"], result["code"]) in {("failed", "engine-timeout"), ("failed", "engine-unavailable")}
        held = service.metric(quarantined)
        assert held <= 1
    finally:
        os.kill(own_triton.pid, signal.SIGCONT)
    service.wait_for("/readyz")
    block_until(lambda: service.metric(quarantined) == 0)
    result = service.predict(part_jpeg, x_deadline_ms="60000")
    assert result["scores"] == expected, result


def test_a_model_that_was_unloaded_is_loaded_again(start_inference: Start, own_triton: Any, part_jpeg: bytes) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(triton=FAST | {"url": own_triton.grpc})
    service.http.post(f"{own_triton.http}/v2/repository/models/surface-defect/unload").raise_for_status()
    result = service.predict(part_jpeg, x_deadline_ms="60000")
    assert result["status"] == "ok", result
