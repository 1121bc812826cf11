"""`ModelS3URI` on a real engine: models of a simulated S3 come into the volume, with the credentials of the device."""

import hashlib
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from lineside.recipes.writing import SOURCE
from lineside_bench.greengrass.core.nucleus import Status
from tests.support.aws import moto_server
from tests.support.core_device import CoreDevice, core_device, deployment, recipe
from tests.support.credential_server import TOKEN, CredentialServer
from tests.support.paths import ROOT
from tests.support.simulated_s3 import Store
from tests.support.waiting import HANG_S, until

__all__ = ["moto_server"]

pytestmark = pytest.mark.xdist_group("docker")

EYE = "com.example.Eye"
Docker = Callable[..., subprocess.CompletedProcess[str]]
LOOK = "cd /models; for each in $(find . -name '*.onnx' | sort); do echo $each $(cat $each); done"
CARD = yaml.safe_load((ROOT / "models/surface-defect/card.yaml").read_text())


class Rig:
    """A bucket, the token exchange, and volumes of its own on the engine, removed at the end."""

    def __init__(
        self,
        docker: Docker,
        images: dict[str, str],
        store: Store,
        credentials: CredentialServer,
        folder: Path,
    ) -> None:
        self.docker, self.images, self.store, self.work = docker, images, store, folder
        self.scope = f"t{secrets.token_hex(4)}"
        self.bucket = store.make_bucket(f"models-{self.scope}")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "LINESIDE_TEST_SCOPE": self.scope,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL_S3": store.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": credentials.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": TOKEN,
        }

    def upload(self, release: str, version: str, content: bytes) -> str:
        """Upload a version of the model as a published example of an inference component names it."""
        prefix = f"models/surface-defect/{release}/"
        files = [{"path": f"{version}/model.onnx", "sha256": hashlib.sha256(content).hexdigest()}]
        card = yaml.safe_dump({**CARD, "version": version, "files": files}).encode()
        config = (ROOT / "models/surface-defect/config.pbtxt").read_bytes()
        for name, body in {"card.yaml": card, "config.pbtxt": config, f"{version}/model.onnx": content}.items():
            self.store.client.put_object(Bucket=self.bucket, Key=prefix + name, Body=body)
        return f"s3://{self.bucket}/{prefix}"

    @property
    def install(self) -> str:
        """The step, but for the configuration's value."""
        models = f'--models "{{configuration:/ModelS3URI}}" {self.images["forwarder"]} {self.images["inference"]}'
        return f"sh {SOURCE} install {EYE} {models}"

    def run(self, uri: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = self.install.replace("{configuration:/ModelS3URI}", uri)
        return subprocess.run(
            ["sh", "-c", script],
            cwd=self.work,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def models(self, script: str = LOOK) -> list[str]:
        """Return what is in the volume, as a service sees it."""
        volume = ("--volume", f"{self.scope}-models:/models:ro")
        image = ("--entrypoint", "sh", self.images["inference"])
        return str(self.docker("run", "--rm", "--network", "none", *volume, *image, "-c", script).stdout).splitlines()

    def remove(self) -> None:
        self.docker("rm", "--force", f"{self.scope}-model-download", check=False)
        for name in ("models", "model-download"):
            self.docker("volume", "rm", "--force", f"{self.scope}-{name}", check=False)


@pytest.fixture
def rig(docker: Docker, images: dict[str, str], moto_server: Store, tmp_path: Path) -> Iterator[Rig]:
    credentials = CredentialServer()
    found = Rig(docker, images, moto_server, credentials, tmp_path)
    try:
        yield found
    finally:
        found.remove()
        credentials.close()


def test_models_come_once_with_the_devices_credentials_and_a_version_never_changes(rig: Rig) -> None:
    first = rig.upload("v1.4", "1", b"one")
    done = rig.run(first)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version 1 of the model surface-defect is in the volume" in done.stdout
    assert rig.models() == ["./surface-defect/1/model.onnx one"]
    away = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    done = rig.run(first, **away)  # the box starts without a network
    assert done.returncode == 0, done.stdout + done.stderr
    assert "are here already" in done.stderr
    done = rig.run(rig.upload("v1.5", "1", b"another"))
    assert done.returncode == 1
    assert "version 1 of model surface-defect is there with another content" in done.stderr
    second = rig.upload("v1.6", "2", b"two")
    assert rig.run(second).returncode == 0
    assert rig.models() == ["./surface-defect/1/model.onnx one", "./surface-defect/2/model.onnx two"]
    assert "version: '2'" in rig.models("cat /models/surface-defect/card.yaml")
    done = rig.run(first, **away)  # and a deployment goes back without one
    assert done.returncode == 0, done.stdout + done.stderr
    assert "version: '1'" in rig.models("cat /models/surface-defect/card.yaml")
    assert rig.docker("ps", "--all", "--quiet", "--filter", f"name={rig.scope}").stdout == ""


def test_what_cannot_be_fetched_is_a_sentence_and_nothing_is_put(rig: Rig) -> None:
    refused = {
        "there is no bucket 'no-such-bucket': make it, or correct ModelS3URI": ("s3://no-such-bucket/models/", {}),
        "ModelS3URI: expected s3://bucket/folder/": ("s3://Upper/models/", {}),
        "token exchange service answers 403: look at the role alias": (
            rig.upload("v1.4", "1", b"one"),
            {"AWS_CONTAINER_AUTHORIZATION_TOKEN": "of-yesterday"},
        ),
    }
    for says, (uri, environment) in refused.items():
        done = rig.run(uri, **environment)
        assert done.returncode == 1
        assert says in done.stderr
        assert done.stderr.splitlines()[-1] == (
            f"{EYE}: the models of {uri} are not here; why stands above, and what was there stays"
        )
        assert TOKEN not in done.stdout + done.stderr
    assert rig.models("ls /models") == []


def serves(core: CoreDevice, uri: str) -> bool:
    """Return whether the component's last start was with this value."""
    return core.written("served")[-1:] == [uri]


async def test_a_deployment_changes_the_model_and_gives_way_to_the_last_where_s3_does_not_have_it(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per-device override, on a core device: `install` names the value, so a changed one installs anew."""
    for name, value in rig.environment.items():
        if name.startswith(("AWS_", "LINESIDE_TEST_")):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("SCRATCH", str(tmp_path / "scratch"))
    given = f"export AWS_CONTAINER_AUTHORIZATION_TOKEN={TOKEN} AWS_REGION=us-east-1\n"
    one, two = rig.upload("v1.4", "1", b"one"), rig.upload("v1.5", "2", b"two")
    serve = 'echo "{configuration:/ModelS3URI}" >> $SCRATCH/served; while :; do sleep 0.05; done'
    eye = recipe(
        "eye",
        default={"ModelS3URI": "file:///models"},
        install={"Script": given + rig.install, "Timeout": int(HANG_S)},
        run=serve,
    )
    async with core_device(tmp_path) as core:
        for uri in (one, two):
            outcome = await core.deploy(deployment(eye=("1.0.0", {"ModelS3URI": uri}, [])), eye)
            assert outcome.status is Status.SUCCEEDED, outcome.why
            await until(partial(serves, core, uri))
        gone = f"s3://{rig.bucket}/models/surface-defect/v9/"
        outcome = await core.deploy(deployment(eye=("1.0.0", {"ModelS3URI": gone}, [])), eye)
        assert outcome.status is Status.ROLLED_BACK, outcome.why
        await until(lambda: core.state("eye") == "RUNNING" and serves(core, two))
        assert f"nothing is under {gone}" in "\n".join(core.nucleus.last_lines("eye"))
    assert rig.models() == ["./surface-defect/1/model.onnx one", "./surface-defect/2/model.onnx two"]
    assert "version: '2'" in rig.models("cat /models/surface-defect/card.yaml")
