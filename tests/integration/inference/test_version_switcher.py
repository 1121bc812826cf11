"""Changing models under load, on a real Triton with a repository of the test's own."""

import asyncio
import hashlib
import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import yaml

from lineside_inference.deploying import Fate, judge, judge_gone
from lineside_inference.models import undoing
from tests.support.inference_service import Inference, inline
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

RATE = 50
MAX_AT_ONCE = 16
MODEL = "surface-defect"
JPEG = {"content-type": "image/jpeg", "x-deadline-ms": "60000"}
_TENSOR = {"name": "image", "datatype": "FP32", "shape": [1, 3, 160, 160], "parameters": {"binary_data_size": 307_200}}
_HEADER = json.dumps({"inputs": [_TENSOR]}).encode()
V2_BODY = _HEADER + bytes(307_200)
V2_HEADERS = {"inference-header-content-length": str(len(_HEADER)), "content-type": "application/octet-stream"}
V2_HEADERS["x-deadline-ms"] = "60000"


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton whose surface-defect has a second version, and room for broken ones."""
    folder = tmp_path_factory.mktemp("changes")
    repository = folder / "models"
    shutil.copytree(ROOT / "models" / MODEL, repository / MODEL)
    add_version(repository, "2")
    add_version(repository, "3", content=b"this is no ONNX file")
    add_version(repository, "4", sha256="0" * 64)
    add_version(repository, "5", input={"name": "image", "kind": "tensor", "datatype": "FP32", "shape": [3, 150, 160]})
    with running_triton(folder, repository) as server:
        yield server


@pytest.fixture
def service(triton: TritonServer, start_inference: Callable[..., Inference]) -> Inference:
    """A service of each test's own: two on one Triton would each load what it wants."""
    return start_inference(model_repository=str(triton.repository), triton={"url": triton.grpc, "health_ms": 50})


def add_version(repository: Path, version: str, content: bytes | None = None, **fields: Any) -> None:
    """Copy version 1 under another number, with its own card."""
    folder = repository / MODEL
    (folder / version).mkdir()
    data = content or (folder / "1" / "model.onnx").read_bytes()
    (folder / version / "model.onnx").write_bytes(data)
    sha256 = fields.pop("sha256", hashlib.sha256(data).hexdigest())
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card |= {"version": version, "files": [{"path": f"{version}/model.onnx", "sha256": sha256}]} | fields
    (folder / version / "card.yaml").write_text(yaml.safe_dump(card))


class Load:
    """Fifty requests a second at their intended moments, and ten of /v2; `seen` counts the answers.

    What a busy machine has not answered yet is waited for: it is not to be refused for the machine's sake.
    """

    def __init__(self, service: Inference, jpeg: bytes) -> None:
        self.seen: Counter[tuple[int, str, str | None, str | None]] = Counter()
        self._url = f"http://127.0.0.1:{service.port}"
        self._jpeg = jpeg
        self._stop = threading.Event()
        self._places = asyncio.Semaphore(MAX_AT_ONCE)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, version: str, count: int) -> None:
        """Wait until so many more answers came from a version."""
        before = self.of(version)
        block_until(lambda: self.of(version) >= before + count, lambda: str(self.seen))

    def of(self, version: str) -> int:
        return sum(count for (_, _, seen, _), count in list(self.seen.items()) if seen == version)

    @property
    def failed(self) -> list[tuple[int, str, str | None, str | None]]:
        return [key for key in self.seen if key[:2] != (200, "ok")]

    async def _run(self) -> None:
        async with (
            httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=HANG_S) as client,
            asyncio.TaskGroup() as g,
        ):
            begin, number = time.monotonic(), 0
            while not self._stop.is_set():
                for ask in (self._ask, self._ask_v2) if number % 5 == 0 else (self._ask,):
                    await self._places.acquire()
                    g.create_task(ask(client)).add_done_callback(lambda _task: self._places.release())
                number += 1
                await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(f"/v1/models/{MODEL}/predict", content=self._jpeg, headers=JPEG)
        result = answer.json()
        version = (result.get("model") or {}).get("version")
        self.seen[answer.status_code, result.get("status", ""), version, result.get("code")] += 1

    async def _ask_v2(self, client: httpx.AsyncClient) -> None:
        answer = await client.post(f"/v2/models/{MODEL}/infer", content=V2_BODY, headers=V2_HEADERS)
        version = answer.json().get("model_version") if answer.status_code == 200 else None
        self.seen[answer.status_code, "ok" if version else answer.text[:200], version, "v2"] += 1


def load(service: Inference, version: str, model: str = MODEL) -> httpx.Response:
    return service.http.post(f"/v1/models/{model}/versions/{version}/load")


def test_a_version_change_under_load_fails_no_request(service: Inference, part_jpeg: bytes) -> None:
    with Load(service, part_jpeg) as line:
        line.wait_for("1", 50)
        for version in ("2", "1", "2"):
            answer = load(service, version)
            assert answer.status_code == 200, answer.text
            assert answer.json()["version"] == version
            line.wait_for(version, 50)
    assert line.failed == []
    assert service.metric('lineside_inference_model_changes_total{model="surface-defect",outcome="done"}') == 3
    assert service.metric('lineside_inference_model_version_number{model="surface-defect"}') == 2
    assert service.http.get("/v1/policy").json()["models"] == {MODEL: "2"}


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3", "INVALID_PROTOBUF"),
        ("4", "model.onnx has SHA-256 [0-9a-f]{64}, the card says 0{64}"),
        ("5", r"has shape \[-1, 3, 160, 160\] in Triton, \[3, 150, 160\] in its card"),
    ],
)
def test_a_candidate_that_fails_leaves_the_old_one_serving(
    service: Inference, part_jpeg: bytes, version: str, said: str
) -> None:
    with Load(service, part_jpeg) as line:
        line.wait_for("1", 10)
        answer = load(service, version)
        line.wait_for("1", 50)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "model-candidate-failed")
    assert f"version {version} of model 'surface-defect' failed, version 1 stays in force" in problem["detail"]
    assert re.search(said, problem["detail"]), problem["detail"]
    assert line.failed == []
    model = service.http.get(f"/v1/models/{MODEL}").json()
    assert (model["version"], model["state"], model["refused"]["version"]) == ("1", "ONLINE", version)


def test_models_are_listed_with_what_is_in_force_and_why(service: Inference) -> None:
    [model] = service.http.get("/v1/models").json()["models"]
    assert model["name"] == MODEL
    assert model["versions"] == ["1", "2", "3", "4", "5"]
    assert model["thresholds"]["scratch"] == 0.5
    assert model["file"]["path"] == "1/model.onnx"
    assert model["file"]["why"].startswith("any")
    assert model["digest"].startswith("sha256:")


def test_unloading_is_answered_to_every_request_and_loading_ends_it(service: Inference, part_jpeg: bytes) -> None:
    assert service.http.post(f"/v1/models/{MODEL}/unload").json()["state"] == "unloaded"
    assert service.http.get("/readyz").status_code == 200
    result = service.predict(part_jpeg)
    assert (result["status"], result["code"]) == ("failed", "model-unloaded")
    assert load(service, "1").json()["state"] == "ONLINE"
    assert service.predict(part_jpeg)["status"] == "ok"


def test_what_is_not_there_is_named(service: Inference) -> None:
    answer = load(service, "9")
    assert (answer.status_code, answer.json()["code"]) == (404, "version-unknown")
    assert "1, 2, 3, 4, 5" in answer.json()["detail"]
    assert load(service, "1", model="nothing").status_code == 404
    assert service.http.get("/v1/models/nothing").json()["code"] == "model-unknown"


def test_one_change_at_a_time(service: Inference) -> None:
    answers: list[int] = []
    askers = [threading.Thread(target=lambda: answers.append(load(service, "2").status_code)) for _ in range(3)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert sorted(set(answers)) in ([200], [200, 409])
    assert answers.count(200) >= 1


def test_a_policy_changes_the_version_in_the_background(service: Inference, part_jpeg: bytes) -> None:
    with Load(service, part_jpeg) as line:
        line.wait_for("1", 10)
        assert service.http.put("/v1/policy", json={"models": {MODEL: "2"}}).status_code == 200
        line.wait_for("2", 10)
        assert service.http.put("/v1/policy", json={}).status_code == 200
        line.wait_for("1", 10)
    assert line.failed == []


def test_triton_serves_the_file_that_fits_this_hardware(
    triton: TritonServer, start_inference: Callable[..., Inference], part_jpeg: bytes
) -> None:
    folder = triton.repository / MODEL
    (folder / "6").mkdir()
    for name, content in (("orin.onnx", (folder / "1" / "model.onnx").read_bytes()), ("model.onnx", b"of another GPU")):
        (folder / "6" / name).write_bytes(content)
    card = yaml.safe_load((folder / "card.yaml").read_text()) | {"version": "6"}
    card["files"] = [
        {
            "path": f"6/{name}",
            "variant": variant,
            "sha256": hashlib.sha256((folder / "6" / name).read_bytes()).hexdigest(),
        }
        for name, variant in (("model.onnx", "any"), ("orin.onnx", "gpu=Orin NX"))
    ]
    (folder / "6" / "card.yaml").write_text(yaml.safe_dump(card))
    service = start_inference(
        model_repository=str(triton.repository),
        triton={"url": triton.grpc, "health_ms": 50},
        hardware={"gpu": "NVIDIA Jetson Orin NX"},
        policy={"models": {MODEL: "6"}},
    )
    result = service.predict(part_jpeg)
    assert (result["status"], result["model"]["version"]) == ("ok", "6")
    config = httpx.get(f"{triton.http}/v2/models/{MODEL}/versions/6/config", trust_env=False).json()
    assert config["default_model_filename"] == "orin.onnx"
    assert "gpu=Orin NX fits" in service.http.get(f"/v1/models/{MODEL}").json()["file"]["why"]
    refused = load(service, "1").json()["detail"]
    assert "lie in files of other names: ['model.onnx', 'orin.onnx']" in refused
    shutil.rmtree(folder / "6")


def test_a_change_survives_triton_being_killed(service: Inference, triton: TritonServer, part_jpeg: bytes) -> None:
    assert load(service, "2").status_code == 200
    triton.kill()
    triton.start()
    service.wait_for("/readyz", 200)
    result = service.infer(deadline_ms=60_000, source=inline(part_jpeg))
    assert (result["status"], result["model"]["version"]) == ("ok", "2")


class Deployed:
    """The model's folder as deployments change it: its own card names the version."""

    def __init__(self, repository: Path) -> None:
        self.folder = repository / MODEL
        card = yaml.safe_load((self.folder / "card.yaml").read_text())
        (self.folder / card["version"] / "card.yaml").write_text(yaml.safe_dump(card))

    def name(self, version: str) -> None:
        new = self.folder / "card.yaml.new"
        shutil.copyfile(self.folder / version / "card.yaml", new)
        new.replace(self.folder / "card.yaml")


def described(service: Inference) -> Any:
    return service.http.get(f"/v1/models/{MODEL}").json()


def test_the_version_that_the_own_card_names_comes_into_force_and_a_broken_one_does_not(
    triton: TritonServer, start_inference: Callable[..., Inference], part_jpeg: bytes
) -> None:
    service = start_inference(
        model_repository=str(triton.repository),
        triton={"url": triton.grpc, "health_ms": 50},
        models={"look_s": 0.2},
    )
    deployed = Deployed(triton.repository)
    try:
        with Load(service, part_jpeg) as line:
            line.wait_for("1", 10)
            deployed.name("2")
            line.wait_for("2", 10)
            assert described(service)["default"] == "2"
            deployed.name("3")
            block_until(lambda: described(service)["refused"], lambda: described(service))
            line.wait_for("2", 20)
            now = described(service)
            assert (now["version"], now["default"], now["wanted"]) == ("2", "3", "3")
            assert "INVALID_PROTOBUF" in now["refused"]["reason"]
            deployed.name("1")
            line.wait_for("1", 10)
        assert line.failed == []
        assert {seen for _, _, seen, _ in line.seen} == {"1", "2"}
        assert described(service)["refused"] is None
        # Where the policy names a version, the operator's choice stays; what came is looked at all the same.
        assert service.http.put("/v1/policy", json={"models": {MODEL: "1"}}).status_code == 200
        deployed.name("4")
        block_until(lambda: described(service)["refused"], lambda: described(service))
        now = described(service)
        assert (now["version"], now["default"], now["wanted"]) == ("1", "4", "1")
        assert "has SHA-256" in now["refused"]["reason"]
        deployed.name("2")
        block_until(lambda: described(service)["default"] == "2", lambda: described(service))
        assert (described(service)["version"], described(service)["refused"]) == ("1", None)
        assert service.http.put("/v1/policy", json={}).status_code == 200
        block_until(lambda: described(service)["version"] == "2", lambda: described(service))
    finally:
        deployed.name("1")


def test_a_model_that_comes_back_is_said_to_serve_only_once_it_does(service: Inference, triton: TritonServer) -> None:
    undoing.keep(triton.repository, MODEL)
    undoing.withdraw(triton.repository, MODEL)
    try:
        block_until(lambda: judge_gone(described(service)).fate is Fate.DONE, lambda: described(service))
        gone = described(service)
        assert (gone["version"], gone["default"], gone["wanted"]) == (None, None, None)
    finally:
        undoing.restore(triton.repository, MODEL)
        undoing.settle(triton.repository, MODEL)

    def done() -> dict[str, Any] | None:
        now = described(service)
        return now if judge(now, "1").fate is Fate.DONE else None

    back = block_until(done, lambda: described(service))
    assert (back["version"], back["state"]) == ("1", "ONLINE")


def test_a_restart_while_a_broken_version_is_named_serves_the_one_before(
    triton: TritonServer, start_inference: Callable[..., Inference], part_jpeg: bytes, tmp_path: Path
) -> None:
    settings = {"model_repository": str(triton.repository), "state_dir": str(tmp_path / "state")}
    settings |= {"triton": {"url": triton.grpc, "health_ms": 50}, "models": {"look_s": 0.2}}
    deployed = Deployed(triton.repository)
    try:
        deployed.name("2")
        service = start_inference(**settings)
        assert service.http.put("/v1/policy", json={"thresholds": {"default": 0.4}}).status_code == 200
        deployed.name("3")
        block_until(lambda: described(service)["refused"], lambda: described(service))
        service.stop()
        triton.kill()
        triton.start()
        service = start_inference(**settings)
        assert service.predict(part_jpeg)["model"]["version"] == "2"
        block_until(lambda: described(service)["refused"], lambda: described(service))
        now = described(service)
        assert (now["version"], now["state"]) == ("2", "ONLINE")
        assert service.http.get("/v1/policy").json()["thresholds"] == {"default": 0.4}
    finally:
        deployed.name("1")
