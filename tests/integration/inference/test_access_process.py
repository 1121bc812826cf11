"""Access to the real process: which settings start, who may ask, what is answered without a token."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lineside.connections import Connection
from lineside_bench.processes.process import clean_environment
from lineside_topic_bridge.inference import InferenceAway, InferenceLink, Token
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S, block_until

TOKEN = "0123456789abcdef-integration"  # noqa: S105 - made up here
Start = Callable[..., Any]


def start_wrongly(folder: Path, grpc: Any = None, **http: Any) -> str:
    """Start the process with these settings and return what it says as it ends with status 2."""
    config = folder / "wrong.yaml"
    section = {"model_repository": str(ROOT / "models"), "http": http, "grpc": grpc or {}}
    config.write_text(yaml.safe_dump({"inference": section}))
    environment = clean_environment()
    ended = subprocess.run(
        [sys.executable, "-m", "lineside_inference", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    return ended.stderr


def test_nobody_is_let_in_from_the_network_by_accident(tmp_path: Path) -> None:
    said = start_wrongly(tmp_path, host="0.0.0.0")  # noqa: S104 - what must not start
    assert "inference.http" in said
    assert "token_file" in said
    assert "auth" in said


def test_grpc_is_not_opened_by_accident_and_a_port_in_use_is_named(tmp_path: Path) -> None:
    said = start_wrongly(tmp_path, grpc={"host": "0.0.0.0", "port": 1})  # noqa: S104 - same
    assert "grpc.host" in said
    assert "token_file" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = start_wrongly(tmp_path, grpc={"port": port})
    assert f"port {port} on 127.0.0.1 is in use" in said
    assert "LINESIDE_INFERENCE__GRPC__PORT" in said


def test_a_token_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    said = start_wrongly(tmp_path, host="0.0.0.0", token_file=str(tmp_path / "none"))  # noqa: S104 - same
    assert "none cannot be read" in said
    assert "openssl rand" in said


def test_only_who_has_a_token_may_ask(start_inference: Start, triton_server: Any, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKEN}\n")
    http = {"host": "0.0.0.0", "token_file": str(tokens)}  # noqa: S104 - with a token
    service = start_inference(triton={"url": triton_server.grpc}, http=http)
    base = str(service.http.base_url)
    known = {"Authorization": f"Bearer {TOKEN}"}
    assert httpx.get(f"{base}/readyz").json() == {"ready": True}
    assert httpx.get(f"{base}/readyz", headers=known).json()["connections"]
    for method, path in (("GET", "/v1/engine"), ("POST", "/v1/infer"), ("GET", "/v2"), ("GET", "/metrics")):
        answer = httpx.request(method, base + path)
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-security-policy"]
    assert httpx.get(f"{base}/v1/engine", headers=known).status_code == 200
    text = httpx.get(f"{base}/metrics", headers=known).text
    assert 'lineside_inference_refusals_total{code="token-missing"} 4.0' in text
    assert TOKEN not in service.log.read_text()


async def test_the_topic_bridge_sends_its_token_and_follows_a_new_one(
    start_inference: Start, triton_server: Any, tmp_path: Path
) -> None:
    allowed, its = tmp_path / "tokens", tmp_path / "its"
    allowed.write_text(f"{TOKEN}\n")
    its.write_text(f"{TOKEN}\n")
    service = start_inference(triton={"url": triton_server.grpc}, http={"token_file": str(allowed)})
    request = b'{"schema":"lineside/request/1","id":"a","model":"none","source":{"kind":"camera","camera":"c"}}'
    connection = Connection("inference", "")
    async with httpx.AsyncClient(base_url=service.http.base_url, auth=Token(its), trust_env=False) as client:
        link = InferenceLink(client, connection)
        supervising = asyncio.create_task(link.supervise())
        assert (await link.infer(request, 5)).json()["code"] == "model-unknown"
        allowed.write_text(f"{TOKEN}-another\n")
        its.write_text(f"{TOKEN}-another\n")
        assert (await link.infer(request, 5)).json()["code"] == "model-unknown"
        its.write_text(f"{TOKEN}-wrong\n")
        allowed.write_text(f"{TOKEN}-third\n")
        async with asyncio.timeout(HANG_S):
            with pytest.raises(InferenceAway, match="inference_token_file"):  # noqa: PT012 - it is asked until it fails
                while True:  # until the service has looked at its file again
                    await link.infer(request, 5)
        supervising.cancel()


def test_a_foreign_name_and_a_foreign_page_are_refused(start_inference: Start, triton_server: Any) -> None:
    service = start_inference(triton={"url": triton_server.grpc})
    assert service.http.get("/v1/engine", headers={"Host": "evil.example"}).json()["code"] == "host-not-allowed"
    answer = service.http.post("/v1/infer", content=b"{}", headers={"Origin": "http://evil.example"})
    assert (answer.status_code, answer.json()["code"]) == (403, "origin-foreign")
    headers = service.http.options("/v1/infer", headers={"Origin": "http://evil.example"}).headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_above_the_queue_is_429_and_a_hopeless_deadline_does_not_wait(
    start_inference: Start, triton_server: Any, camera: Any
) -> None:
    """One place, held by a camera that does not answer; one may wait; a third is refused."""
    service = start_inference(
        triton={"url": triton_server.grpc},
        cameras={"silent": {"url": f"{camera.url}/silent", "timeout_ms": 20_000}},
        limits={"concurrency": 1, "queue": 1},
    )
    source = {"kind": "camera", "camera": "silent"}
    # So that the service has measured: a place is held for half a second.
    assert service.infer(source=source, deadline_ms=500)["code"] == "camera-timeout"
    with ThreadPoolExecutor(2) as asking:
        holding = asking.submit(service.infer, source=source, deadline_ms=20_000)
        wait_for_load(service, 1)
        hopeless = service.infer(source=source, deadline_ms=300)
        assert (hopeless["status"], hopeless["code"]) == ("expired", "deadline-out-of-reach")
        assert not holding.done(), "it waited for its place"
        waiting = asking.submit(service.infer, source=source, deadline_ms=20_000)
        wait_for_load(service, 2)
        body = {"schema": "lineside/request/1", "id": "third", "model": "surface-defect", "source": source}
        refused = service.http.post("/v1/infer", json=body)
        assert (refused.status_code, refused.json()["type"]) == (429, "urn:lineside:problem:overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        camera.release.set()
        assert holding.result()["status"] == "failed"
        assert waiting.result()["status"] == "failed"


def wait_for_load(service: Any, count: int) -> None:
    states = [f'lineside_inference_load_requests{{state="{state}"}}' for state in ("working", "waiting")]
    block_until(lambda: sum(service.metric(state) for state in states) == count, f"{count} requests in the service")
