"""What the doctor says of a real Triton, its models, shared memory and cameras, well and broken."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tritonclient.grpc import service_pb2 as pb

from lineside.checks import Check, Mark, ok, readyz
from lineside.cli import common_checks
from lineside.cli.machine import ports
from lineside_inference.doctor import checks, shared_memory, triton
from lineside_inference.engine.arena import FOLDER
from lineside_inference.models.store import read_store
from lineside_inference.settings import InferenceHttpSettings, Settings, TritonSettings
from tests.support.inference_service import Camera, Inference
from tests.support.paths import ROOT
from tests.support.triton_server import TritonServer

MODEL = "surface-defect"
READY = {"inference": ok("inference", "ready on here")}
WELL = {"model cards", "Triton", "model surface-defect", "model spindle-anomaly", "shared memory"}


Ask = Callable[..., Any]


@pytest.fixture
def ask(tmp_path: Path, triton_server: TritonServer) -> Ask:
    """Return what asks the doctor with settings of section `inference`; gives its checks by name."""

    async def found(before: dict[str, Check] | None = None, **settings: Any) -> dict[str, Check]:
        own = {"model_repository": str(ROOT / "models"), **settings}
        own["triton"] = {"url": triton_server.grpc} | settings.get("triton", {})
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump({"inference": own}))
        return {check.name: check async for check in checks(path, before or {})}

    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the bench's models, to be broken."""
    return Path(shutil.copytree(ROOT / "models", tmp_path / "models"))


def change(card: Path, **fields: Any) -> None:
    card.write_text(yaml.safe_dump(yaml.safe_load(card.read_text()) | fields))


def names(folder: Path) -> list[str]:
    """Return the names of regions of ours."""
    return sorted(path.name for path in folder.glob("lineside-*"))


async def test_a_triton_with_its_models_is_well(ask: Ask, triton_server: TritonServer) -> None:
    before = names(FOLDER)
    found = await ask()
    assert {name for name, check in found.items() if check.mark is Mark.OK} >= WELL, found
    assert triton_server.grpc in found["Triton"].what
    assert not [name for name in names(FOLDER) if f"-{os.getpid()}-" in name and name not in before]
    async with triton.Server(TritonSettings(url=triton_server.grpc)) as server:
        status = await server.stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest())
    assert not [name for name in status.regions if name.startswith("lineside_doctor")]


async def test_the_http_endpoint_is_asked_where_inferences_go_there(ask: Ask, triton_server: TritonServer) -> None:
    right = await ask(triton={"http_url": f"127.0.0.1:{triton_server.http_port}"})
    assert right["Triton HTTP"].mark is Mark.OK
    wrong = await ask(triton={"http_url": f"127.0.0.1:{triton_server.grpc_port}"})
    assert wrong["Triton HTTP"].mark is Mark.FAIL


async def test_a_triton_that_is_away_fails_and_what_needs_it_is_skipped(ask: Ask, closed_port: int) -> None:
    found = await ask(triton={"url": f"127.0.0.1:{closed_port}"})
    assert found["Triton"].mark is Mark.FAIL
    assert found["Triton"].remedy
    needing = ("model surface-defect", "model spindle-anomaly", "shared memory")
    assert {found[name].mark for name in needing} == {Mark.SKIP}


async def test_a_version_that_triton_does_not_serve_is_drift(ask: Ask, repository: Path) -> None:
    folder = repository / MODEL
    shutil.copytree(folder / "1", folder / "2")
    card = yaml.safe_load((folder / "card.yaml").read_text())
    card["files"] = [file | {"path": file["path"].replace("1/", "2/")} for file in card["files"]]
    (folder / "2" / "card.yaml").write_text(yaml.safe_dump(card | {"version": "2"}))
    policy = {"models": {MODEL: "2"}}
    found = await ask(model_repository=str(repository), policy=policy)
    assert found[f"model {MODEL}"].mark is Mark.WARN
    assert "version 2 is wanted, and Triton has version 1 READY" in found[f"model {MODEL}"].what
    by_hand = await ask(model_repository=str(repository), policy=policy, triton={"load_models": False})
    assert by_hand[f"model {MODEL}"].mark is Mark.FAIL
    assert "triton.load_models" in by_hand[f"model {MODEL}"].remedy
    unknown = await ask(model_repository=str(repository), policy={"models": {MODEL: "7"}})
    assert unknown[f"model {MODEL}"].mark is Mark.FAIL
    assert "no version '7'" in unknown[f"model {MODEL}"].what


async def test_a_card_that_says_other_than_triton_is_a_failure(ask: Ask, repository: Path) -> None:
    card = repository / "spindle-anomaly" / "card.yaml"
    given = yaml.safe_load(card.read_text())["input"]
    change(card, input=given | {"name": "other"})
    found = await ask(model_repository=str(repository))
    assert found["model spindle-anomaly"].mark is Mark.FAIL, found
    assert "other" in found["model spindle-anomaly"].what
    assert found[f"model {MODEL}"].mark is Mark.OK


async def test_a_model_that_triton_does_not_know(ask: Ask, repository: Path) -> None:
    (repository / MODEL).rename(repository / "weld-seam")
    change(repository / "weld-seam" / "card.yaml", name="weld-seam")
    config = repository / "weld-seam" / "config.pbtxt"
    config.write_text(config.read_text().replace(MODEL, "weld-seam"))
    found = await ask(model_repository=str(repository))
    assert found["model weld-seam"].mark is Mark.WARN
    assert f"Triton does not know it; it knows spindle-anomaly, {MODEL}" in found["model weld-seam"].what


async def test_a_file_that_is_not_the_cards_is_a_failure(ask: Ask, repository: Path) -> None:
    (repository / MODEL / "1" / "model.onnx").write_bytes(b"another model")
    found = await ask(model_repository=str(repository))
    assert found["model cards"].mark is Mark.FAIL
    assert "SHA-256" in found["model cards"].what
    assert found["Triton"].mark is Mark.OK
    assert found["shared memory"].mark is Mark.SKIP


async def test_memory_that_triton_does_not_see_is_told_and_nothing_is_left_there(
    triton_server: TritonServer, tmp_path: Path
) -> None:
    settings = TritonSettings(url=triton_server.grpc)
    store = read_store(ROOT / "models")
    async with triton.Server(settings) as server:
        elsewhere = await shared_memory.check(settings, [store], server, None, tmp_path)
        here = await shared_memory.check(settings, [store], server, None)
    assert elsewhere.mark is Mark.WARN
    assert "Triton does not see it" in elsewhere.what
    assert here.mark is Mark.OK
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("truncated", "no end marker"),
        ("page", "no JPEG, PNG, BMP, TIFF, WebP or binary PGM"),
        ("error", "answered 500"),
        ("silent", "no frame within 1000 ms"),
        ("cut", "broke the connection"),
        ("endless", "bytes"),
        ("packed", "gzip"),
    ],
)
async def test_a_camera_without_a_whole_picture_fails(ask: Ask, camera: Camera, mode: str, says: str) -> None:
    urls = {name: {"url": f"{camera.url}/{name}", "timeout_ms": 1000} for name in (mode, "good")}
    found = await ask(cameras=urls)
    assert found[f"camera {mode}"].mark is Mark.FAIL
    assert says in found[f"camera {mode}"].what
    assert found["camera good"].mark is Mark.OK
    assert found["camera good"].what.startswith("640 x 480 JPEG, ")


async def test_cameras_of_files_and_away(ask: Ask, tmp_path: Path, part_jpeg: bytes, closed_port: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "old.jpg").write_bytes(part_jpeg)
    os.utime(folder / "old.jpg", (1_700_000_000, 1_700_000_000))
    found = await ask(
        cameras={
            "folder": {"kind": "directory", "path": str(folder)},
            "away": {"url": f"http://127.0.0.1:{closed_port}/a.jpg"},
            "secret": {"url": "http://127.0.0.1:1/", "username": "u", "password_file": str(tmp_path / "none")},
        }
    )
    assert found["camera folder"].mark is Mark.OK, found["camera folder"]
    assert "640 x 480 JPEG" in found["camera folder"].what
    assert found["camera away"].mark is Mark.FAIL
    assert "cannot be reached" in found["camera away"].what
    assert found["camera secret"].mark is Mark.FAIL
    assert "password_file" in found["camera secret"].what


async def test_what_the_running_service_says_counts(
    ask: Ask, start_inference: Callable[..., Inference], triton_server: TritonServer, camera: Camera, tmp_path: Path
) -> None:
    token = tmp_path / "tokens"
    token.write_text("a-token-for-the-doctor\n")
    settings = {
        "triton": {"url": triton_server.grpc},
        "cameras": {"cell": {"url": f"{camera.url}/good"}, "idle": {"url": f"{camera.url}/good"}},
    }
    settings["cameras"]["empty"] = {"url": f"{camera.url}/error"}
    service = start_inference(**settings, http={"token_file": str(token)})
    service.http.headers["authorization"] = f"Bearer {token.read_text().strip()}"
    service.infer(source={"kind": "camera", "camera": "cell"}, context={"station": "s"})
    http = {"port": service.port, "token_file": str(token)}
    between = await ask(READY, **settings, http=http)
    assert between["camera empty"].mark is Mark.WARN, between["camera empty"]
    assert "answered 500" in between["camera empty"].what
    camera.close()
    found = await ask(READY, **settings, http=http)
    assert found["camera cell"].mark is Mark.OK, found["camera cell"]
    assert "the inference service has had 1 frames" in found["camera cell"].what
    assert found["camera idle"].mark is Mark.FAIL
    assert "in use with Triton" in found["shared memory"].what
    alone = await ask(**settings, http=http)  # without the service's word
    assert alone["camera cell"].mark is Mark.FAIL
    where = InferenceHttpSettings.model_validate(http)
    for own, has_details in ((where, True), (where.model_copy(update={"token_file": None}), False)):
        assert ("service" in readyz("inference", own)[1]) is has_details
        box = Settings.model_validate({"inference": {"http": own.model_dump()}})
        assert ports.look([box], Path("/")).what == f"{service.port} inference runs"
        assert (await common_checks.service("inference", box)).mark is Mark.OK
    unknown = await ask(READY, **settings, http={"port": service.port})  # without its token
    assert unknown["camera cell"].mark is Mark.FAIL
