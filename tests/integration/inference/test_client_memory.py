"""A v2 client's own shared memory: registered here, read and written by Triton, as with Triton's own HTTP port."""

import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.utils import shared_memory

from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

ROOT = Path(__file__).parents[3]
Start = Callable[..., Any]
WINDOW = np.random.default_rng(1).normal(size=(1, 64, 4)).astype(np.float32)
PREFIX = "v2-test-"
LIMITS = {
    "client_shared_memory_prefixes": [PREFIX],
    "client_shared_memory_regions": 3,
    "client_shared_memory_bytes": 1 << 20,
}
ALL = "/v2/systemsharedmemory"


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("repository")
    for model in ("surface-defect", "spindle-anomaly"):
        shutil.copytree(ROOT / "models" / model, repository / model)
    with running_triton(tmp_path_factory.mktemp("triton"), repository) as server:
        yield server


@pytest.fixture(scope="module", params=["grpc", "http"])
def shared(request: Any, start_shared: Start, triton: TritonServer) -> Any:
    way = {"http_url": triton.http.removeprefix("http://")} if request.param == "http" else {}
    return start_shared(triton={"url": triton.grpc, "health_ms": 100} | way, limits=LIMITS)


@pytest.fixture
def service(shared: Any) -> Iterator[Any]:
    yield shared
    assert shared.http.post(f"{ALL}/unregister").status_code == 200


@pytest.fixture
def region() -> Iterator[Any]:
    """A region as Triton's own client makes it, with the window in it and room for an answer behind it."""
    handle = shared_memory.create_shared_memory_region("mine", f"/{PREFIX}window", 2 * WINDOW.nbytes)
    shared_memory.set_shared_memory_region(handle, [WINDOW])
    yield handle
    if f"/{PREFIX}window" in shared_memory.mapped_shared_memory_regions():
        shared_memory.destroy_shared_memory_region(handle)


def register(http: httpx.Client, name: str = "mine", **other: Any) -> httpx.Response:
    told = {"key": f"/{PREFIX}window", "offset": 0, "byte_size": 2 * WINDOW.nbytes} | other
    return http.post(f"{ALL}/region/{name}/register", json=told)


def place(size: int, offset: int = 0, name: str = "mine") -> dict[str, Any]:
    return {"shared_memory_region": name, "shared_memory_offset": offset, "shared_memory_byte_size": size}


def ask(http: httpx.Client, parameters: dict[str, Any], **more: Any) -> httpx.Response:
    one = {"name": "window", "datatype": "FP32", "shape": [1, 64, 4], "parameters": parameters}
    return http.post("/v2/models/spindle-anomaly/infer", json={"inputs": [one]} | more)


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["error"]


def test_what_is_asked_by_shared_memory_is_answered_as_triton_answers(
    service: Any, triton: TritonServer, region: Any
) -> None:
    wanted = [{"name": "score", "parameters": place(4, WINDOW.nbytes)}]
    answers = []
    with httpx.Client(base_url=triton.http, timeout=HANG_S, trust_env=False) as theirs:
        for http in (theirs, service.http):
            shared_memory.set_shared_memory_region(region, [WINDOW, np.zeros(4, np.float32)])
            done = register(http)
            assert (done.status_code, done.content) == (200, b"")
            assert http.get(f"{ALL}/region/mine/status").json() == [
                {"name": "mine", "key": f"/{PREFIX}window", "offset": 0, "byte_size": 2 * WINDOW.nbytes}
            ]
            found = ask(http, place(WINDOW.nbytes), outputs=wanted)
            score = shared_memory.get_contents_as_numpy(region, np.float32, [1], WINDOW.nbytes)
            answers.append((found.status_code, found.json(), score.tolist()))
            gone = functools.partial(http.post, f"{ALL}/region/mine/unregister")
            if http is theirs:  # Triton answers a request before it lets go of its memory, and refuses until then
                block_until(lambda gone=gone: gone().status_code == 200)
            else:
                assert gone().status_code == 200
            assert http.get(f"{ALL}/status").json() == [] or http is theirs
    assert answers[0] == answers[1]
    assert answers[0][2] != [0.0]


def test_the_extension_is_named_where_it_is_there(service: Any) -> None:
    assert "system_shared_memory" in service.http.get("/v2").json()["extensions"]


def test_the_refusal_without_the_setting_names_it(start_inference: Start, triton: TritonServer) -> None:
    http = start_inference(triton={"url": triton.grpc}).http
    for answer in (register(http), http.get(f"{ALL}/status"), ask(http, place(WINDOW.nbytes))):
        assert "inference.limits.client_shared_memory_prefixes" in refused(answer, 403, "shared-memory-refused")
    assert "system_shared_memory" not in http.get("/v2").json()["extensions"]


@pytest.mark.usefixtures("region")
@pytest.mark.parametrize(
    ("told", "status", "code"),
    [
        ({"key": "/other"}, 403, "shared-memory-refused"),
        ({"key": f"/{PREFIX}../etc"}, 403, "shared-memory-refused"),
        ({"key": f"//{PREFIX}window"}, 403, "shared-memory-refused"),
        ({"key": "/lineside-1"}, 403, "shared-memory-refused"),
        ({"key": f"/{PREFIX}none"}, 400, "shared-memory-invalid"),
        ({"byte_size": 2 * WINDOW.nbytes + 1}, 400, "shared-memory-invalid"),
        ({"offset": 1}, 400, "shared-memory-invalid"),
        ({"offset": -1}, 400, "v2-request-invalid"),
        ({"byte_size": 0}, 400, "v2-request-invalid"),
        ({"byte_size": True}, 400, "v2-request-invalid"),
        ({"key": 1}, 400, "v2-request-invalid"),
    ],
)
def test_what_cannot_be_registered(service: Any, told: dict[str, Any], status: int, code: str) -> None:
    refused(register(service.http, **told), status, code)
    assert service.http.get(f"{ALL}/status").json() == []


def test_a_name_is_taken_once_and_regions_are_bounded(service: Any, region: Any) -> None:
    assert region is not None
    assert register(service.http).status_code == 200
    refused(register(service.http), 400, "shared-memory-invalid")
    names = ("second", "third", "fourth")
    handles = [shared_memory.create_shared_memory_region(name, f"/{PREFIX}{name}", 64) for name in names]
    try:
        told = [register(service.http, name, key=f"/{PREFIX}{name}", byte_size=64) for name in names]
        assert [answer.status_code for answer in told] == [200, 200, 429]
        refused(service.http.get(f"{ALL}/region/fourth/status"), 404, "shared-memory-unknown")
        assert service.http.post(f"{ALL}/region/fourth/unregister").status_code == 200
        refused(service.http.get(f"{ALL}/region/mine/register"), 405, "method-not-allowed")
    finally:
        for handle in handles:
            shared_memory.destroy_shared_memory_region(handle)


@pytest.mark.usefixtures("region")
def test_nothing_beyond_the_region_and_nothing_unregistered_is_read(service: Any) -> None:
    register(service.http)
    assert "ends at byte" in refused(ask(service.http, place(WINDOW.nbytes, 1 << 20)), 400, "v2-request-invalid")
    assert ask(service.http, place(WINDOW.nbytes)).status_code == 200
    service.http.post(f"{ALL}/region/mine/unregister")
    refused(ask(service.http, place(WINDOW.nbytes)), 403, "shared-memory-refused")


def test_a_region_goes_with_its_file(service: Any, triton: TritonServer, region: Any) -> None:
    register(service.http)
    shared_memory.destroy_shared_memory_region(region)
    block_until(lambda: service.http.get(f"{ALL}/status").json() == [])
    with httpx.Client(base_url=triton.http, timeout=HANG_S, trust_env=False) as theirs:
        block_until(lambda: not any(one["key"] == f"/{PREFIX}window" for one in theirs.get(f"{ALL}/status").json()))


@pytest.mark.usefixtures("region")
def test_triton_started_anew_has_the_region_again(start_inference: Start, own_triton: TritonServer) -> None:
    own_triton.start()
    own_triton.wait_ready()
    service = start_inference(triton={"url": own_triton.grpc, "health_ms": 100}, limits=LIMITS)
    register(service.http)
    before = ask(service.http, place(WINDOW.nbytes)).json()
    own_triton.kill()
    own_triton.start()
    service.wait_for("/readyz", 200)
    block_until(lambda: ask(service.http, place(WINDOW.nbytes)).status_code == 200)
    assert ask(service.http, place(WINDOW.nbytes)).json() == before
