"""Engines built on the device, up to the border of TensorRT: a real Triton, the real builder, a stand-in for trtexec.

What the stand-in builds is ONNX, and a stand-in for Triton's TensorRT backend runs it; all else is what a Jetson has.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
import yaml
from onnx import numpy_helper

from lineside.plans.cache import PlanFolder
from lineside.plans.documents import PLAN
from tests.support.inference_service import Inference
from tests.support.paths import ROOT
from tests.support.plan_building import AGX, ORIN, BuilderProcess, Trtexec
from tests.support.triton_server import TritonServer, running_triton
from tests.support.waiting import HANG_S, block_until

MODEL = "surface-defect"


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("plans")
    repository = folder / "models"
    shutil.copytree(ROOT / "models" / MODEL, repository / MODEL)
    add_version(repository / MODEL, "2")
    (folder / "plans" / "models").mkdir(parents=True)
    with running_triton(folder, repository, [folder / "plans" / "models"], with_tensorrt=True) as server:
        yield server


@pytest.fixture
def plans(triton: TritonServer) -> Iterator[PlanFolder]:
    folder = triton.work / "plans"
    yield PlanFolder(folder)
    for entry in [*folder.glob("*"), *folder.glob("models/*")]:
        if entry.name != "models":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


@pytest.fixture
def trtexec(tmp_path: Path) -> Trtexec:
    return Trtexec(tmp_path / "tensorrt")


@pytest.fixture
def start_builder(triton: TritonServer, plans: PlanFolder, trtexec: Trtexec) -> Iterator[Callable[..., BuilderProcess]]:
    started = []

    def start(device: Any = ORIN) -> BuilderProcess:
        started.append(BuilderProcess(plans.path, triton.repository, trtexec, device))
        started[-1].wait_until_it_lives()
        return started[-1]

    yield start
    for builder in started:
        builder.end()


@pytest.fixture
def start(
    triton: TritonServer, plans: PlanFolder, start_inference: Callable[..., Inference]
) -> Callable[..., Inference]:
    def start(**tensorrt: Any) -> Inference:
        return start_inference(
            model_repository=str(triton.repository),
            triton={"url": triton.grpc, "health_ms": 50},
            models={"look_s": 0.2},
            tensorrt={"folder": str(plans.path), "idle_s": 0.2} | tensorrt,
        )

    return start


def add_version(folder: Path, version: str) -> None:
    """Add a version whose file is another, and which answers the same."""
    model = onnx.load(folder / "1" / "model.onnx")
    model.producer_name = f"version {version}"
    (folder / version).mkdir()
    onnx.save(model, folder / version / "model.onnx")
    sha256 = hashlib.sha256((folder / version / "model.onnx").read_bytes()).hexdigest()
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card |= {"version": version, "files": [{"path": f"{version}/model.onnx", "sha256": sha256}]}
    (folder / version / "card.yaml").write_text(yaml.safe_dump(card))


def make_wrong(trtexec: Trtexec, model: Path) -> None:
    """Have the stand-in build an engine whose outputs are not the model's."""
    wrong = onnx.load(model)
    last = wrong.graph.initializer[-1]
    last.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(last) + 3, last.name))
    onnx.save(wrong, trtexec.folder / "wrong.onnx")
    trtexec.be("wrong")


def standing(service: Inference) -> dict[str, str]:
    return service.http.get(f"/v1/models/{MODEL}").json()["tensorrt"] or {}


def wait_for(service: Inference, state: str, why: str = "") -> str:
    """Wait until the model stands so, and return why."""

    def stands() -> bool:
        now = standing(service)
        return now.get("state") == state and why in now["why"]

    block_until(stands, lambda: f"{standing(service)}\n{service.log.read_text()[-3000:]}", within=HANG_S)
    return standing(service)["why"]


def judged_by(service: Inference, jpeg: bytes) -> str:
    result = service.predict(jpeg, x_deadline_ms="60000")
    assert result["status"] == "ok", result
    return result["model"]["digest"].removeprefix("sha256:")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def served(triton: TritonServer) -> dict[str, str]:
    """Return what Triton has ready, by name, with its version."""
    index = httpx.post(f"{triton.http}/v2/repository/index", trust_env=False).json()
    return {one["name"]: one["version"] for one in index if one.get("state") == "READY"}


def only_plan(plans: PlanFolder) -> Path:
    (key,) = plans.sizes()
    return plans.place(key) / PLAN


def test_an_engine_is_built_proven_and_judges_and_is_found_again(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    trtexec: Trtexec,
    part_jpeg: bytes,
) -> None:
    start_builder()
    trtexec.hold()
    service = start(precision="fp16", workspace_mb=256)
    onnx_file = triton.repository / MODEL / "1" / "model.onnx"
    wait_for(service, "building", "ONNX judges meanwhile")
    assert judged_by(service, part_jpeg) == sha256(onnx_file)
    trtexec.release()
    why = wait_for(service, "serves")
    assert why.startswith(f"TensorRT engine {only_plan(plans).parents[1].name}, built of 1/model.onnx for Orin NX")
    shapes = {"--minShapes=image:1x3x160x160", "--optShapes=image:1x3x160x160", "--maxShapes=image:8x3x160x160"}
    assert {"--fp16", "--memPoolSize=workspace:256", *shapes} <= set(trtexec.asked())
    assert judged_by(service, part_jpeg) == sha256(only_plan(plans))
    document = service.http.get(f"/v1/models/{MODEL}").json()
    assert document["file"]["variant"] == "built here"
    assert document["digest"] == f"sha256:{sha256(only_plan(plans))}"
    assert served(triton) == {MODEL: "1", only_plan(plans).parents[1].name: "1"}, "ONNX stays beside it"
    assert service.metric('lineside_inference_plan_builds_total{outcome="built"}') == 1
    assert service.metric("lineside_inference_plan_cache_bytes") == only_plan(plans).stat().st_size
    assert {"name": f"plan/{MODEL}", "state": "ONLINE", "required": False}.items() <= next(
        link for link in service.http.get("/readyz").json()["connections"] if link["name"] == f"plan/{MODEL}"
    ).items()
    service.stop()
    (trtexec.folder / "asked").unlink()
    again = start(precision="fp16", workspace_mb=256)
    wait_for(again, "serves")
    assert judged_by(again, part_jpeg) == sha256(only_plan(plans))
    assert again.metric("lineside_inference_plan_hits_total") == 1
    assert trtexec.asked() == [], "the second start builds nothing"


def test_a_wrong_engine_is_refused_and_not_built_again(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    trtexec: Trtexec,
    part_jpeg: bytes,
) -> None:
    onnx_file = triton.repository / MODEL / "1" / "model.onnx"
    make_wrong(trtexec, onnx_file)
    start_builder()
    service = start()
    wait_for(service, "refused", "output 'logits' differs from ONNX's by")
    block_until(lambda: plans.sizes() == {}, "the engine goes", within=HANG_S)
    assert judged_by(service, part_jpeg) == sha256(onnx_file)
    assert set(served(triton)) == {MODEL}
    assert service.metric('lineside_inference_plan_refusals_total{why="outputs"}') == 1
    service.stop()
    (trtexec.folder / "asked").unlink()
    trtexec.be("well")
    again = start()
    wait_for(again, "refused", "0.02 is allowed")
    assert trtexec.asked() == []
    again.stop()
    wait_for(start(tolerance=1.0), "serves")  # by a wider tolerance it is judged anew


def test_a_damaged_engine_is_built_anew(
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    part_jpeg: bytes,
) -> None:
    start_builder()
    service = start()
    wait_for(service, "serves")
    whole = only_plan(plans).read_bytes()
    service.stop()
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    only_plan(plans).write_bytes(changed)
    again = start()
    wait_for(again, "serves")
    assert only_plan(plans).read_bytes() == whole
    assert again.metric('lineside_inference_plan_refusals_total{why="damaged"}') == 1
    assert again.metric('lineside_inference_plan_builds_total{outcome="built"}') == 1
    assert judged_by(again, part_jpeg) == hashlib.sha256(whole).hexdigest()


def test_an_engine_of_another_device_is_never_loaded(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
) -> None:
    builder = start_builder(AGX)
    service = start()
    wait_for(service, "serves", "AGX Orin")
    foreign = only_plan(plans).parents[1].name
    service.stop()
    builder.end()
    start_builder(ORIN)
    again = start(build="never")
    wait_for(again, "none", "none is built here")
    assert foreign in plans.sizes()
    block_until(lambda: foreign not in served(triton), "what the run before had loaded goes", within=HANG_S)
    again.stop()
    wait_for(start(), "serves", "Orin NX")
    assert len(plans.sizes()) == 2


def test_an_engine_that_triton_does_not_load_is_built_once_more_and_then_given_up(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    trtexec: Trtexec,
    part_jpeg: bytes,
) -> None:
    trtexec.be("truncate")
    start_builder()
    service = start()
    wait_for(service, "refused", "Triton does not load it, also built anew")
    assert service.metric('lineside_inference_plan_builds_total{outcome="built"}') == 2
    assert judged_by(service, part_jpeg) == sha256(triton.repository / MODEL / "1" / "model.onnx")
    block_until(lambda: plans.sizes() == {}, "the engine goes", within=HANG_S)


def test_a_build_that_fails_is_said_and_not_tried_at_once(
    start: Callable[..., Inference], start_builder: Callable[..., BuilderProcess], trtexec: Trtexec
) -> None:
    trtexec.be("fail")
    start_builder()
    service = start()
    why = wait_for(service, "failed", "NonMaxSuppression")
    assert "; the next build is tried in " in why
    assert service.metric('lineside_inference_plan_builds_total{outcome="failed"}') == 1


def test_an_engine_that_is_lost_costs_no_part(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    part_jpeg: bytes,
) -> None:
    start_builder()
    service = start()
    wait_for(service, "serves")
    name = only_plan(plans).parents[1].name
    httpx.post(f"{triton.http}/v2/repository/models/{name}/unload", trust_env=False).raise_for_status()
    onnx_file = triton.repository / MODEL / "1" / "model.onnx"
    assert judged_by(service, part_jpeg) == sha256(onnx_file), "the part that found it away is judged by ONNX"
    block_until(lambda: judged_by(service, part_jpeg) == sha256(only_plan(plans)), "it comes back", within=HANG_S)
    assert service.metric(f'lineside_inference_plan_fallbacks_total{{model="{MODEL}"}}') == 1


def test_after_triton_was_killed_the_engine_comes_back(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    part_jpeg: bytes,
) -> None:
    start_builder()
    service = start()
    wait_for(service, "serves")
    triton.kill()
    triton.start()
    assert judged_by(service, part_jpeg)
    block_until(lambda: judged_by(service, part_jpeg) == sha256(only_plan(plans)), "it comes back", within=HANG_S)


def test_nothing_is_built_while_parts_are_judged(
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    trtexec: Trtexec,
    part_jpeg: bytes,
) -> None:
    builder = start_builder()
    trtexec.hold()
    service = start(idle_s=1.0)
    wait_for(service, "building", "it is being built")
    (pid,) = trtexec.running()

    def stopped() -> bool:
        judged_by(service, part_jpeg)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T" and standing(service)["why"] == "the build is paused while parts are judged"

    block_until(stopped, builder.log.read_text, within=HANG_S)
    trtexec.release()
    wait_for(service, "serves")  # the line is quiet again


def test_another_version_is_in_force_at_once_and_gets_an_engine_of_its_own(
    triton: TritonServer,
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
    trtexec: Trtexec,
    part_jpeg: bytes,
) -> None:
    start_builder()
    service = start()
    wait_for(service, "serves")
    first = only_plan(plans).parents[1].name
    trtexec.hold()
    assert service.http.post(f"/v1/models/{MODEL}/versions/2/load").status_code == 200
    assert judged_by(service, part_jpeg) == sha256(triton.repository / MODEL / "2" / "model.onnx")
    block_until(lambda: first not in served(triton), "the engine of version 1 goes", within=HANG_S)
    trtexec.release()
    wait_for(service, "serves", "2/model.onnx")
    second = (plans.sizes().keys() - {first}).pop()
    assert judged_by(service, part_jpeg) == sha256(plans.place(second) / PLAN)
    assert service.http.post(f"/v1/models/{MODEL}/versions/1/load").status_code == 200
    wait_for(service, "serves", "1/model.onnx")  # it was in the cache
    assert service.metric('lineside_inference_plan_builds_total{outcome="built"}') == 2


def test_the_one_used_least_goes_where_the_limit_is_passed(
    plans: PlanFolder,
    start: Callable[..., Inference],
    start_builder: Callable[..., BuilderProcess],
) -> None:
    start_builder()
    for precision in ("fp32", "fp16"):
        service = start(precision=precision)
        wait_for(service, "serves")
        service.stop()
    old, new = list(json.loads((plans.path / "ask.json").read_text())["used"])
    assert set(plans.sizes()) == {old, new}
    size = plans.sizes()[new]
    large = plans.place(old) / PLAN
    large.write_bytes(large.read_bytes() + bytes(1024 * 1024 - size))
    service = start(precision="fp16", limit_mb=1)
    wait_for(service, "serves")
    block_until(lambda: set(plans.sizes()) == {new}, "the other goes", within=HANG_S)


def test_without_a_builder_onnx_serves_and_it_is_said(plans: PlanFolder, start: Callable[..., Inference]) -> None:
    service = start()
    wait_for(service, "none", f"no builder lives in {plans.path}")


def test_without_a_folder_there_is_nothing_of_it(
    triton: TritonServer, plans: PlanFolder, start_inference: Callable[..., Inference], part_jpeg: bytes
) -> None:
    service = start_inference(model_repository=str(triton.repository), triton={"url": triton.grpc})
    assert judged_by(service, part_jpeg) == sha256(triton.repository / MODEL / "1" / "model.onnx")
    assert service.http.get(f"/v1/models/{MODEL}").json()["tensorrt"] is None
    assert "lineside_inference_plan" not in service.http.get("/metrics").text
    assert all(not link["name"].startswith("plan/") for link in service.http.get("/readyz").json()["connections"])
    assert not (plans.path / "ask.json").exists()
