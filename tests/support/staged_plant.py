"""A fleet of which one device is real: its line judges parts in containers, the other devices are simulated.

The operator's side goes by the commands: models are approved, packed and signed, rolled out, judged by the evidence of
the line, taken back. All that the real device runs comes from the stand-in for AWS, each model as a signed package.
"""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from lineside.cli.model import app as model_commands
from lineside.contract import Result
from lineside.packages import pack, sign
from lineside.recipes.rendering import model_component
from lineside_bench.cloud.devices import Device
from lineside_bench.cloud.sample import FLEET, STAGING, add_component, add_group
from lineside_bench.cloud.server import Server
from lineside_bench.cloud.world import World
from lineside_bench.config import MODEL
from lineside_bench.deployable import BUCKET
from lineside_bench.deployment import NUCLEUS
from lineside_bench.greengrass.core.nucleus import Status
from lineside_fleet.commands import fleet
from tests.support.approvals import MODELS, archive_of, on_approval, register
from tests.support.deployed_line import DEVICE, DeployedLine, bare_line, docker
from tests.support.managed_core import ManagedCore
from tests.support.model_folders import like_the_benchs
from tests.support.paths import ROOT
from tests.support.simulated_s3 import KEYS, Store
from tests.support.stand_in_cloud import client, serving, variables
from tests.support.waiting import HANG_S

COMPONENT = model_component(MODEL)
FIRST = "2.0.0"
"""The component's version of the first model; approvals make 2.1.0, 2.2.0 and so on."""
FLEET_DEVICES = ("core-1", "core-2", "core-3")
SIMULATED = (*FLEET_DEVICES, "staging-2")
TRAINED = (ROOT / "models" / MODEL / "1" / "model.onnx").read_bytes()


class Plant:
    """The line, the fleet that it is in, and the operator's folder: key, approvals, rollouts."""

    def __init__(self, line: DeployedLine, server: Server, store: Store, folder: Path, image: str) -> None:
        self.line, self.server, self.store, self.folder = line, server, store, folder
        registry, _, rest = image.rpartition("/")
        self.place = {"registry": registry, "bucket": BUCKET, "lineside_version": rest.partition(":")[2]}
        self.pinned = f"{registry}/inference@{docker('image', 'inspect', '--format', '{{.Id}}', image).strip()}"
        self.core = ManagedCore(line, server, store, {self.pinned: image})
        self.world = server.cloud.world
        self._exported: set[str] = set()

    @contextlib.contextmanager
    def operating(self) -> Iterator[None]:
        """Have AWS' clients of this process talk to the stand-ins; what runs on the device sees nothing of it."""
        stores = {f"AWS_ENDPOINT_URL_{service}": self.store.url for service in ("S3", "SAGEMAKER")}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**KEYS, **variables(self.server), **stores}.items():
                patch.setenv(name, value)
            yield

    def run(self, *arguments: object, status: int = 0, of: typer.Typer = fleet) -> str:
        """Run `lineside fleet`, or another group of commands, and return what it printed."""
        with self.operating():
            done = CliRunner().invoke(of, [str(each) for each in arguments])
        assert done.exit_code == status, f"{arguments}: {done.exit_code}\n{done.output}\n{done.exception!r}"
        return done.output

    def publish(self, package: Path, version: str, *more: str) -> None:
        """Make a package a component version of the account."""
        out = self.folder / f"component-{version}"
        place = [word for name, value in self.place.items() for word in (f"--{name.replace('_', '-')}", value)]
        named = ("--component-version", version, "--digests", self.folder / "digests.txt", "--out", out)
        self.run("component", package, *named, *place, *more, of=model_commands)
        self.run("publish", out, "--region", "eu-central-1", of=model_commands)

    def approve(self, model: Path) -> tuple[Path, str]:
        """Approve a model in the registry; return the file of its rollout, and the version of its component."""
        with self.operating():
            event = register(self.store.client, archive_of(model, name=MODEL), MODEL)
            status, text = on_approval(event, self.folder / "approvals.yaml")
        assert status == 0, text
        number = event["detail"]["ModelPackageVersion"]
        return self.folder / "rollouts" / f"{MODEL}-{number}.yaml", f"2.{number}.0"

    def pass_minutes(self, minutes: int) -> None:
        """Let time go by for the simulated devices."""
        with self.server.cloud.lock:
            self.world.tick(minutes)

    def component_versions(self, of: Iterable[str]) -> set[str]:
        """Return which versions of the model's component devices have."""
        return {self.world.devices[name].installed()[COMPONENT] for name in of}

    def judging(self) -> str:
        """Return the version of the model that judges now, by the next verdict."""
        return model_version(self.line.next_verdict())

    def judge(self, parts: int) -> None:
        """Judge parts over the whole line; an assertion fails where one, or its evidence, is missing."""
        _status, said, summary = self.line.attach(parts, rate=8)
        counts = {name: summary[name] for name in ("missing", "duplicates", "wrong_write_backs", "unverified")}
        assert counts == dict.fromkeys(counts, 0), said
        assert summary["evidence"]["lost"] == 0, said

    def export(self, into: Path) -> Path:
        """Add the evidence that was delivered since the last time to a folder, and return that."""
        with contextlib.ExitStack() as life:
            whole = self.folder / "whole"
            life.callback(shutil.rmtree, whole, ignore_errors=True)
            docker("cp", f"{self.line.container('Forwarder')}:/var/lib/lineside/evidence", str(whole))
            for file in sorted(whole.rglob("*.jsonl")):  # which never change once they are there
                name = str(file.relative_to(whole))
                if name not in self._exported:
                    self._exported.add(name)
                    into.mkdir(parents=True, exist_ok=True)
                    file.rename(into / file.name)
        return into


def model_version(result: Result) -> str:
    """Return the version of the model that made a verdict."""
    assert result.model is not None
    return str(result.model.version)


def _world() -> World:
    world = World()
    add_component(world, "aws.greengrass.Nucleus", NUCLEUS)
    world.devices = {name: Device(name, architecture="amd64") for name in SIMULATED}
    world.devices[DEVICE] = Device(DEVICE, architecture="amd64", is_real=True)
    add_group(world, FLEET, list(FLEET_DEVICES))
    add_group(world, STAGING, [DEVICE, "staging-2"])
    return world


@contextlib.contextmanager
def _trusting(folder: Path, public: Path, image: str) -> Iterator[Path]:
    """Yield a root of the machine's files with a folder of those who sign models, which is root's own."""
    roots = folder / "etc/lineside/model-roots"
    roots.mkdir(parents=True, mode=0o755)
    shutil.copy(public, roots)
    (roots / public.name).chmod(0o644)

    def give_to(user: int) -> None:
        if os.geteuid():
            mount = ("--volume", f"{roots}:/roots", "--user", "0:0", "--network", "none", "--entrypoint", "chown")
            docker("run", "--rm", *mount, image, "-R", f"{user}:{user}", "/roots")

    give_to(0)
    try:
        yield folder
    finally:
        give_to(os.geteuid())


def _operators_files(plant: Plant, gate: Mapping[str, Any]) -> None:
    """Write key, digests, template and approvals."""
    plant.run("key", plant.folder / "plant.key", of=model_commands)
    (plant.folder / "digests.txt").write_text(f"{plant.pinned}\n")
    template = {
        "target": FLEET,
        "stages": [{"name": "staging", "group": STAGING}],
        "window_minutes": 0,
        "gate": dict(gate),
    }
    (plant.folder / "template.yaml").write_text(yaml.safe_dump(template))
    approvals = {
        "groups": {MODEL: {"template": "template.yaml", "version": "2.{version}.0"}},
        "sign": {"key": "plant.key"},
        "digests": "digests.txt",
        **plant.place,
    }
    (plant.folder / "approvals.yaml").write_text(yaml.safe_dump(approvals))


def _first_deployment(plant: Plant) -> None:
    """Give both groups the whole line, with the first model as a signed package; every part's evidence is kept."""
    line = plant.line
    package = pack(like_the_benchs(plant.folder / MODEL, "1", TRAINED), plant.folder).archive
    sign(package, key=plant.folder / "plant.key")
    plant.publish(package, FIRST)
    kept = {"configuration": {"capture": {"rate": 1.0, "always": ["fail", "unknown"]}}}
    parts = line.changed({}, {"TopicBridge": {"topic_bridge": {"steering": kept}}})["components"]
    parts[COMPONENT]["componentVersion"] = FIRST
    for part in parts.values():
        if update := part.get("configurationUpdate"):
            update["merge"] = json.dumps(update["merge"])
    policies = {"configurationValidationPolicy": {"timeoutInSeconds": int(HANG_S)}}
    greengrass = client(plant.server, "greengrassv2")
    for (name, _version), recipe in line.recipes.items():
        if f"com.lineside.{name}" != COMPONENT:
            greengrass.create_component_version(inlineRecipe=json.dumps(recipe.document))
    for group in (FLEET, STAGING):
        greengrass.create_deployment(
            targetArn=plant.world.groups[group].arn,
            deploymentName="first",
            components=parts,
            deploymentPolicies=policies,
        )
    done = plant.core.carry_out()
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{line.said()}"
    plant.pass_minutes(3)


@contextlib.contextmanager
def staged_plant(images: Mapping[str, str], store: Store, folder: Path, gate: Mapping[str, Any]) -> Iterator[Plant]:
    """Yield the plant, whose line judges by the first model; `gate` is its rollouts', `folder` the operator's."""
    with contextlib.ExitStack() as life:
        line = life.enter_context(bare_line(images))
        server = life.enter_context(serving(_world()))
        made = Plant(line, server, store, folder, images["inference"])
        _operators_files(made, gate)
        root = life.enter_context(_trusting(line.folder / "root", folder / "plant.key.pub", images["inference"]))
        life.enter_context(pytest.MonkeyPatch.context()).setenv("LINESIDE_TEST_ROOT", str(root))
        for bucket in (BUCKET, MODELS):
            store.make_bucket(bucket)
        local = line.folder / "bucket"
        for file in [each for each in local.rglob("*") if each.is_file()]:
            store.client.upload_file(str(file), BUCKET, str(file.relative_to(local)))
        shutil.rmtree(local)  # what the core needs it gets from S3
        _first_deployment(made)
        yield made
