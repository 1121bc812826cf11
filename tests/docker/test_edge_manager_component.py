"""Edge Manager's component under its own name, on a core device and a real engine: a dependant of it runs unchanged."""

import json
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml

from lineside.recipes.components import TRITON
from lineside.recipes.edge_manager_component import AGENT
from lineside.recipes.rendering import Place, recipes
from lineside.recipes.writing import files, write
from lineside_bench.deployable import BUCKET, PLATFORM, SCOPE_VARIABLE, remove
from lineside_bench.greengrass.core.nucleus import Status
from lineside_bench.greengrass.core.reading import Node
from lineside_bench.greengrass.core.recipe import Recipe, read_recipe
from tests.support.aws import moto_server
from tests.support.constant_models import graph
from tests.support.core_device import CoreDevice, core_device, deployment, recipe
from tests.support.credential_server import TOKEN, CredentialServer
from tests.support.edge_client import CAPTURE, MODEL
from tests.support.paths import ROOT
from tests.support.simulated_s3 import Store
from tests.support.waiting import PATIENCE_S, until

__all__ = ["moto_server"]

pytestmark = pytest.mark.xdist_group("docker")

CLIENT = "com.example.EdgeClient"


@pytest.fixture
def credentials() -> Iterator[CredentialServer]:
    server = CredentialServer()
    yield server
    server.close()


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, moto_server: Store, credentials: CredentialServer) -> Iterator[Path]:
    """A short folder for a core, whose scripts have names of their own on the engine and a simulated S3."""
    scope = f"t{secrets.token_hex(4)}"
    monkeypatch.setenv(SCOPE_VARIABLE, scope)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_S3": moto_server.url,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials.url,
    }.items():
        monkeypatch.setenv(name, value)
    with tempfile.TemporaryDirectory(prefix="gg-") as made:
        yield Path(made)
    remove(scope)


@pytest.fixture
def ours(images: dict[str, str], folder: Path) -> dict[str, Recipe]:
    """The recipes of the agent and of what it needs, their artifact in the core's bucket."""
    registry, _slash, rest = images["inference"].rpartition("/")
    place = Place(registry, BUCKET, rest.partition(":")[2], (PLATFORM,), components=(TRITON, AGENT))
    made = files(place, {})
    write(folder / "bucket", {name.removeprefix("artifacts/"): made[name] for name in made if "artifacts/" in name})
    # A bench's core gives a token of its own; here the one that the simulated token exchange takes stands in its place.
    token = f"export AWS_CONTAINER_AUTHORIZATION_TOKEN={TOKEN} AWS_REGION=us-east-1; sh {{artifacts:path}}"
    texts = {name: text.replace("sh {artifacts:path}", token) for name, text in recipes(place, {}).items()}
    return {name.removesuffix(".yaml"): read_recipe(Node(yaml.safe_load(texts[name]), name)) for name in texts}


def client(out: Path) -> Recipe:
    """A dependant as the samples' recipes are: it names the agent's component, and asks it for the socket."""
    socket = f"{{{AGENT.name}:configuration:/UnixSocketName}}"
    return recipe(
        CLIENT,
        needs={AGENT.name: ">=1.0.2"},
        run=f"cd {ROOT}; {sys.executable} -m tests.support.edge_client {socket} {{work:path}}/model {out}; sleep 10000",
    )


def constant(folder: Path) -> None:
    """Write a model that a client loads: a folder with one file."""
    made = graph({"y": np.array([0.25, 0.5], np.float32)}, (3,), "FP32", 0.0, 0)
    folder.mkdir(parents=True)
    onnx.save(made, folder / "model.onnx")


def said(core: CoreDevice) -> str:
    return "\n".join(line for name in core.nucleus.logs for line in core.nucleus.last_lines(name, 40))


async def test_a_dependant_of_the_public_component_runs_unchanged(
    folder: Path, ours: dict[str, Recipe], moto_server: Store, docker: Callable, tmp_path: Path
) -> None:
    """It waits for the socket, loads a model out of its own folder, predicts by bytes and by a segment, captures."""
    bucket = moto_server.make_bucket(f"sagemaker-{secrets.token_hex(4)}")
    socket, out = folder / "agent.sock", tmp_path / "out.json"
    fleet = {"DeviceFleetName": "press", "BucketName": bucket, "UnixSocketName": str(socket)}
    fleet |= {"CaptureDataDestination": "Disk", "CaptureDataPeriodicUpload": "true"}
    fleet |= {"CaptureDataPeriodicUploadPeriodSeconds": "1", "CaptureDataPushPeriodSeconds": "1"}
    async with core_device(folder, files=folder / "bucket") as core:
        constant(core.nucleus.root / "work" / CLIENT / "model")
        wanted = {AGENT.name: (ours[AGENT.name].version, fleet, []), TRITON.name: str(ours[TRITON.name].version)}
        outcome = await core.deploy(deployment(**wanted, **{CLIENT: "1.0.0"}), *ours.values(), client(out))
        assert outcome.status is Status.SUCCEEDED, f"{outcome.why}\n{said(core)}"
        await until(out.exists, lambda: said(core), within=2 * PATIENCE_S)
        got = json.loads(out.read_text())
        assert got["models"] == [MODEL]
        assert got["bytes"] == got["segment"] == [0.25, 0.5]
        capture = core.nucleus.root / "work" / AGENT.name / "capture"
        await until(lambda: list(capture.rglob("*.jsonl")), lambda: said(core))
        await until(lambda: [key for key in moto_server.keys(bucket) if CAPTURE in key], lambda: said(core))
        names = docker("ps", "--format", "{{.Names}}").stdout.split()
        own = [name for name in names if name.endswith(("-edge-manager", "-edge-manager-forwarder"))]
        assert len(own) == 2

        # Killed, the forwarder takes the agent along, and both come back; the socket is the same.
        [forwarder] = [name for name in own if name.endswith("-forwarder")]
        first = docker("inspect", "--format", "{{.Id}}", own[0]).stdout
        docker("kill", "--signal", "KILL", forwarder)
        await until(
            lambda: (
                docker("inspect", "--format", "{{.Id}}", own[0], check=False).stdout not in {"", "\n", first}
                and core.state(AGENT.name) == "RUNNING"
            ),
            lambda: said(core),
            within=3 * PATIENCE_S,
            every=0.2,
        )
        outcome = await core.deploy(deployment(**{TRITON.name: str(ours[TRITON.name].version)}), ours[TRITON.name])
        assert outcome.status is Status.SUCCEEDED, f"{outcome.why}\n{said(core)}"
        assert not socket.exists()
        left = docker("ps", "--all", "--format", "{{.Names}}").stdout.split()
        assert not [name for name in left if name in own]


async def test_a_deployment_without_the_fleets_name_gives_way_and_says_what_is_missing(
    folder: Path, ours: dict[str, Recipe]
) -> None:
    async with core_device(folder, files=folder / "bucket") as core:
        wanted = {AGENT.name: (ours[AGENT.name].version, {"UnixSocketName": str(folder / "agent.sock")}, [])}
        wanted |= {TRITON.name: str(ours[TRITON.name].version)}
        outcome = await core.deploy(deployment(**wanted), *ours.values())
        assert outcome.status is not Status.SUCCEEDED
        assert "DeviceFleetName: must be given" in said(core)
