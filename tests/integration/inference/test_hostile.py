"""The line's own requests beside attacks on the service that judges them: every part is judged, in bounded memory.

The service runs with what its container has in compose.yaml: its share of one GiB, and two cores.
"""

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support import hostile_rig as rig
from tests.support.inference_service import Camera, Inference
from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

MIB = 1024 * 1024
PARTS = 6
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["inference"]
JPEG = {"content-type": "image/jpeg"}
PNG = {"content-type": "image/png"}
REFUSED = (400, 404, 413, 422, 429)


def test_compose_gives_what_is_attacked_here() -> None:
    assert COMPOSE["mem_limit"] == "${LINESIDE_INFERENCE_MEMORY:-1g}"
    assert COMPOSE["cpus"] == "${LINESIDE_INFERENCE_CPUS:-2}"


@pytest.fixture(scope="module")
def service(start_shared: Callable[..., Inference], triton_server: Any, part_jpeg: bytes) -> Iterator[Inference]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    camera = Camera(part_jpeg)
    yield start_shared(
        triton={"url": triton_server.grpc},
        cameras={"station-1": {"url": f"{camera.url}/good"}},
        limits={"memory_bytes": 256 * MIB, "workers": 2},
        default_deadline_ms=HANG_S * 1000,
    )
    camera.close()


def peak_bytes(service: Inference) -> int:
    """Return the most resident memory that the process ever had."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(
            lambda _: rig.connections(200, b"POST /v1/infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{"),
            id="slow bodies",
        ),
        pytest.param(lambda _: rig.connections(700, b""), id="silent connections"),
        pytest.param(
            lambda _: rig.connections(12, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000), id="heads without end"
        ),
        pytest.param(
            lambda jpeg: rig.requests(2, "POST", rig.PATH, rig.filled_jpeg(jpeg), JPEG, (200, *REFUSED)),
            id="fill bytes",
        ),
        pytest.param(
            lambda _: rig.requests(4, "POST", "/v1/infer", rig.numbers(2_000_000), {}, REFUSED),
            id="two million numbers",
        ),
        pytest.param(
            lambda _: rig.requests(4, "POST", "/v1/infer", rig.numbers(260_000), {}, (200, *REFUSED)),
            id="as many numbers as are allowed",
        ),
        pytest.param(
            lambda _: rig.requests(6, "POST", rig.PATH, rig.wide_png(), PNG, (200, *REFUSED)), id="wide pictures"
        ),
        pytest.param(
            lambda _: rig.requests(2, "PUT", "/v1/policy", rig.labels(250_000), {}, REFUSED), id="a policy of labels"
        ),
        pytest.param(
            lambda _: rig.requests(16, "POST", "/v2/models/unknown/infer", *rig.declaring(2**30), (400, 404, 413, 429)),
            id="tensors that are only declared",
        ),
        pytest.param(
            lambda _: rig.requests(
                32, "POST", "/v2/models/unknown/infer", *rig.unfolding(60 * MIB), (400, 404, 413, 429)
            ),
            id="compressed tensors",
        ),
    ],
)
async def test_every_part_is_judged_beside(service: Inference, part_jpeg: bytes, attack: Any) -> None:
    async def line() -> None:
        async with httpx.AsyncClient(base_url=service.http.base_url, timeout=HANG_S, trust_env=False) as client:
            for _ in range(PARTS):
                asked = {
                    "schema": "lineside/request/1",
                    "id": os.urandom(8).hex(),
                    "model": "surface-defect",
                    "source": {"kind": "camera", "camera": "station-1"},
                    "context": {"station": "station-1"},
                }
                answer = await client.post("/v1/infer", json=asked)
                assert answer.status_code == 200, answer.text
                assert answer.json()["status"] == "ok", answer.text

    under_way = await asyncio.to_thread(attack, part_jpeg)
    await rig.beside(under_way(service.port), line)
    assert service.http.get("/livez").status_code == 200
    assert peak_bytes(service) < 1024 * MIB * 9 // 10
