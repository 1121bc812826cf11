"""From the approval of a model to a line that really judges by it, and to the fleet, or back: each step by its command.

One device of the staging group is a core of the bench whose components are containers. It takes all it runs from the
stand-in for AWS, each model as a signed package; the parts of its line are what the gate judges by. The other devices
are simulated.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import typer
import yaml
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from lineside.cli.model import app as model_commands
from lineside.packages import pack, sign
from lineside.recipes.rendering import model_component
from lineside_bench.cloud.devices import Device
from lineside_bench.cloud.sample import FLEET, STAGING, add_component, add_group
from lineside_bench.cloud.server import Server
from lineside_bench.cloud.world import World
from lineside_bench.config import MODEL
from lineside_bench.deployable import BUCKET, CONTAINERS
from lineside_bench.deployment import NUCLEUS
from lineside_bench.greengrass.core.nucleus import Status
from lineside_fleet.commands import fleet
from tests.support.approvals import MODELS, archive_of, command, on_approval, register
from tests.support.aws import moto_server
from tests.support.deployed_line import DEVICE, DeployedLine, bare_line, docker
from tests.support.managed_core import ManagedCore
from tests.support.model_folders import like_the_benchs
from tests.support.paths import ROOT
from tests.support.simulated_s3 import KEYS, Store
from tests.support.stand_in_cloud import client, serving, variables
from tests.support.waiting import HANG_S

__all__ = ["moto_server"]

pytestmark = pytest.mark.xdist_group("docker")

COMPONENT = model_component(MODEL)
FIRST = "2.0.0"
"""The component's version of the first model; approvals make 2.1.0, 2.2.0 and so on."""
SIMULATED = ("core-1", "core-2", "core-3", "staging-2")
TRAINED = (ROOT / "models" / MODEL / "1" / "model.onnx").read_bytes()
PARTS = 80
GATE: dict[str, Any] = {
    **dict.fromkeys(("latency", "throughput", "errors", "defects", "confidence")),
    "unknowns": {"ratio": 1, "allowance": 0.2},
    "looks": 2,
    "parts": PARTS,
    "hours": "any",
}
"""Decides of PARTS parts, on one device: up to a tenth of them may be late on a busy machine."""
HOLD = 3
"""Exit status of `evaluate`: not yet."""
Figure = Callable[[str, Any], None]


def no_longer_sure_of_defects() -> bytes:
    """Return the trained model with no logit of a defect above 0: it passes good parts, and of others is not certain.

    Half of the bench's parts are good, so it answers `unknown` for about the other half.
    """
    made = onnx.load_from_string(TRAINED)
    limits = np.array([[np.inf, 0, 0, 0, 0]], np.float32)  # good, and the four defects
    made.graph.node[-1].output[0] = "sure"
    made.graph.initializer.append(numpy_helper.from_array(limits, "limits"))
    made.graph.node.append(helper.make_node("Min", ["sure", "limits"], ["logits"]))
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


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

    def component_versions(self, of: Mapping[str, object] | tuple[str, ...]) -> set[str]:
        """Return which versions of the model's component devices have."""
        return {self.world.devices[name].installed()[COMPONENT] for name in of}

    def judging(self) -> str:
        """Return the version of the model that judges now, by the next verdict."""
        return _model_version(self.line.next_verdict())

    def judge(self) -> None:
        """Judge PARTS parts over the whole line; an assertion fails where one, or its evidence, is missing."""
        _status, said, summary = self.line.attach(PARTS, rate=8)
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


def _model_version(result: Any) -> str:
    assert result.model is not None
    return str(result.model.version)


def _world() -> World:
    world = World()
    add_component(world, "aws.greengrass.Nucleus", NUCLEUS)
    world.devices = {name: Device(name, architecture="amd64") for name in SIMULATED}
    world.devices[DEVICE] = Device(DEVICE, architecture="amd64", is_real=True)
    add_group(world, FLEET, [name for name in SIMULATED if name.startswith("core-")])
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


def _operators_files(plant: Plant) -> None:
    """Write key, digests, template and approvals."""
    plant.run("key", plant.folder / "plant.key", of=model_commands)
    (plant.folder / "digests.txt").write_text(f"{plant.pinned}\n")
    template = {"target": FLEET, "stages": [{"name": "staging", "group": STAGING}], "window_minutes": 0, "gate": GATE}
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


@pytest.fixture(scope="module")
def plant(images: dict[str, str], moto_server: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Yield the plant, whose line judges by the first model; one for all tests, which each leave it judging."""
    folder = tmp_path_factory.mktemp("operator")
    with contextlib.ExitStack() as life:
        line = life.enter_context(bare_line(images))
        server = life.enter_context(serving(_world()))
        made = Plant(line, server, moto_server, folder, images["inference"])
        _operators_files(made)
        root = life.enter_context(_trusting(line.folder / "root", folder / "plant.key.pub", images["inference"]))
        life.enter_context(pytest.MonkeyPatch.context()).setenv("LINESIDE_TEST_ROOT", str(root))
        for bucket in (BUCKET, MODELS):
            moto_server.make_bucket(bucket)
        local = line.folder / "bucket"
        for file in [each for each in local.rglob("*") if each.is_file()]:
            moto_server.client.upload_file(str(file), BUCKET, str(file.relative_to(local)))
        shutil.rmtree(local)  # what the core needs it gets from S3
        _first_deployment(made)
        yield made


class Staged:
    """A model that was approved and is in the stage: its rollout, and the evidence of both versions."""

    def __init__(self, plant: Plant, folder: Path, model_version: str, content: bytes) -> None:
        self.plant, self.folder, self.model_version = plant, folder, model_version
        self.before, self.component_before = plant.judging(), plant.core.installed()[COMPONENT]
        plant.export(folder / "earlier")
        plant.judge()
        plant.export(folder / "before")
        self.rollout, self.component = plant.approve(like_the_benchs(folder / MODEL, model_version, content))
        log = plant.line.nucleus.logs[COMPONENT]
        known = log.stat().st_size
        done = plant.core.carry_out()
        assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
        self.installing = log.read_bytes()[known:].decode()
        """What the model's component wrote while it was deployed."""
        plant.pass_minutes(3)
        plant.line.next_verdict(lambda each: _model_version(each) == model_version)
        plant.export(folder / "between")

    def evaluate(self) -> tuple[int, str, dict[str, Any]]:
        """Judge parts and ask the gate, once more where it holds; return exit status, words and report."""
        sides = ["--baseline", self.folder / "before", "--baseline-version", self.before]
        sides += ["--staged", self.folder / "after", "--staged-version", self.model_version]
        report = self.folder / "report"
        for _look in range(GATE["looks"]):
            self.plant.judge()
            self.plant.export(self.folder / "after")
            with self.plant.operating():
                status, text = command("evaluate", self.rollout, *sides, "--model", MODEL, "--out", report)
            sys.stdout.write(text)
            if status != HOLD:
                break
        return status, text, json.loads((report / "gate.json").read_text())


def test_a_model_that_is_no_worse_goes_to_the_fleet_by_the_evidence_of_the_line(
    plant: Plant, tmp_path: Path, figure: Figure
) -> None:
    staged = Staged(plant, tmp_path, "11", TRAINED)
    assert (staged.before, plant.core.installed()[COMPONENT]) == ("1", staged.component)
    assert f"model {MODEL}: signed by " in staged.installing
    assert f"version 11 of the model {MODEL} is in the volume" in staged.installing
    status, text, report = staged.evaluate()
    assert (status, text.splitlines()[0]) == (0, "promote"), text
    figure("equal_unknowns", [round(report["metrics"][0][side], 3) for side in ("baseline", "staged")])
    for side, version in (("baseline", "1"), ("staged", "11")):
        assert (report[side]["versions"], report[side]["devices"]) == ([version], 1)
        assert report[side]["parts"] >= PARTS
    assert plant.component_versions(plant.world.groups[FLEET].members) == {FIRST}
    plant.run("promote", staged.rollout)
    plant.pass_minutes(5)
    assert "promoted to the whole target" in plant.run("promote", staged.rollout)
    assert plant.component_versions((*SIMULATED, DEVICE)) == {staged.component}
    assert plant.judging() == "11"


def test_a_worse_model_is_stopped_by_what_the_line_judged_and_the_stage_goes_back(
    plant: Plant, tmp_path: Path, figure: Figure
) -> None:
    staged = Staged(plant, tmp_path, "12", no_longer_sure_of_defects())
    status, text, report = staged.evaluate()
    assert (status, text.splitlines()[0]) == (1, "stop"), text
    figure("worse_unknowns", [round(report["metrics"][0][side], 3) for side in ("baseline", "staged")])
    assert "the gate says stop" in plant.run("promote", staged.rollout, status=2)
    assert plant.component_versions(plant.world.groups[FLEET].members) == {staged.component_before}
    containers = plant.line.container_ids()
    plant.run("rollback", staged.rollout, "--because", "the gate")
    done = plant.core.carry_out()
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
    plant.pass_minutes(3)
    assert plant.component_versions((*SIMULATED, DEVICE)) == {staged.component_before}
    assert plant.line.next_verdict(lambda each: _model_version(each) == staged.before).verdict != "unknown"
    assert plant.line.container_ids() == containers  # nothing but the model went back


REFUSED = {
    "unsigned": f"model '{MODEL}' comes without a signature",
    "changed": "the package is not what ",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_package_that_is_not_as_somebody_trusted_signed_it_fails_the_stage_and_the_version_before_serves(
    plant: Plant, tmp_path: Path, figure: Figure, kind: str
) -> None:
    before, component, containers = plant.judging(), plant.core.installed()[COMPONENT], plant.line.container_ids()
    version = f"3.0.{list(REFUSED).index(kind)}"
    package = pack(like_the_benchs(tmp_path / MODEL, "13", TRAINED), tmp_path).archive
    if kind == "changed":
        sign(package, key=plant.folder / "plant.key")
        pack(like_the_benchs(tmp_path / MODEL, "13", no_longer_sure_of_defects()), tmp_path)
        plant.publish(package, version)
    else:
        plant.publish(package, version, "--unsigned")
    document: dict[str, Any] = {
        "rollout": f"refused-{kind}",
        "target": FLEET,
        "components": {COMPONENT: version},
        "gate": None,
    }
    document |= {"stages": [{"name": "staging", "group": STAGING}], "window_minutes": 0}
    rollout = tmp_path / "rollout.yaml"
    rollout.write_text(yaml.safe_dump(document))
    plant.run("start", rollout)
    verdicts = len(plant.line.verdicts)
    done = plant.core.carry_out()
    figure(f"refused_s {kind}", round(done.seconds, 1))
    plant.pass_minutes(3)
    assert done.status is Status.ROLLED_BACK, f"{done.why}\n{plant.line.said()}"
    assert f"{COMPONENT} is BROKEN: install ended with exit status 1" in done.why
    assert REFUSED[kind] in plant.line.nucleus.logs[COMPONENT].read_text()
    told = plant.run("status", rollout, status=1)
    assert f"{DEVICE}: FAILED: FAILED_ROLLBACK_COMPLETE: {COMPONENT} is BROKEN: install ended" in told
    assert "1 of 2 devices failed" in plant.run("evaluate", rollout, status=1)
    plant.line.next_verdict()
    assert {_model_version(each) for each in plant.line.verdicts[verdicts:]} == {before}
    assert plant.core.installed()[COMPONENT] == component
    plant.run("rollback", rollout)
    done = plant.core.carry_out()
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
    plant.pass_minutes(3)
    assert (plant.component_versions((*SIMULATED, DEVICE)), plant.judging()) == ({component}, before)
    assert plant.line.container_ids() == containers
    assert {name: plant.line.state(name) for name in CONTAINERS} == dict.fromkeys(CONTAINERS, "RUNNING")
