"""From the approval of a model to a line that really judges by it, and to the fleet, or back: each step by its command.

One device of the staging group is a core of the bench whose components are containers. It takes all it runs from the
stand-in for AWS, each model as a signed package; the parts of its line are what the gate judges by. The other devices
are simulated.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import helper, numpy_helper

from lineside.packages import pack, sign
from lineside_bench.cloud.sample import FLEET, STAGING
from lineside_bench.config import MODEL
from lineside_bench.deployable import CONTAINERS
from lineside_bench.greengrass.core.nucleus import Status
from tests.support.approvals import command
from tests.support.aws import moto_server
from tests.support.deployed_line import DEVICE
from tests.support.model_folders import like_the_benchs
from tests.support.simulated_s3 import Store
from tests.support.staged_plant import (
    COMPONENT,
    FIRST,
    FLEET_DEVICES,
    SIMULATED,
    TRAINED,
    Plant,
    model_version,
    staged_plant,
)

__all__ = ["moto_server"]

pytestmark = pytest.mark.xdist_group("docker")

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


@pytest.fixture(scope="module")
def plant(images: dict[str, str], moto_server: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """Return the plant: one for all tests, which each leave it judging."""
    with staged_plant(images, moto_server, tmp_path_factory.mktemp("operator"), GATE) as found:
        yield found


def fair_shares(evidence: Path) -> set[float]:
    """Return what records say of which share of all parts every one was kept."""
    records = [json.loads(line) for file in evidence.iterdir() for line in file.read_bytes().splitlines()]
    return {each["eventMetadata"]["fairShare"] for each in records}


class Staged:
    """A model that was approved and is in the stage: its rollout, and the evidence of both versions."""

    def __init__(self, plant: Plant, folder: Path, version: str, content: bytes) -> None:
        self.plant, self.folder, self.version = plant, folder, version
        self.before, self.component_before = plant.judging(), plant.core.installed()[COMPONENT]
        plant.export(folder / "earlier")
        plant.judge(PARTS)
        plant.export(folder / "before")
        self.rollout, self.component = plant.approve(like_the_benchs(folder / MODEL, version, content))
        log = plant.line.nucleus.logs[COMPONENT]
        known = log.stat().st_size
        done = plant.core.carry_out()
        assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
        self.installing = log.read_bytes()[known:].decode()
        """What the model's component wrote while it was deployed."""
        plant.pass_minutes(3)
        plant.line.next_verdict(lambda each: model_version(each) == version)
        plant.export(folder / "between")

    def evaluate(self) -> tuple[int, str, dict[str, Any]]:
        """Judge parts and ask the gate, once more where it holds; return exit status, words and report."""
        sides = ["--baseline", self.folder / "before", "--baseline-version", self.before]
        sides += ["--staged", self.folder / "after", "--staged-version", self.version]
        report = self.folder / "report"
        for _look in range(GATE["looks"]):
            self.plant.judge(PARTS)
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
    assert fair_shares(tmp_path / "after") == {1.0}  # every part, as the deployment's policy says
    assert plant.component_versions(FLEET_DEVICES) == {FIRST}
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
    assert plant.component_versions(FLEET_DEVICES) == {staged.component_before}
    containers = plant.line.container_ids()
    plant.run("rollback", staged.rollout, "--because", "the gate")
    done = plant.core.carry_out()
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
    plant.pass_minutes(3)
    assert plant.component_versions((*SIMULATED, DEVICE)) == {staged.component_before}
    assert plant.line.next_verdict(lambda each: model_version(each) == staged.before).verdict != "unknown"
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
    assert {model_version(each) for each in plant.line.verdicts[verdicts:]} == {before}
    assert plant.core.installed()[COMPONENT] == component
    plant.run("rollback", rollout)
    done = plant.core.carry_out()
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{plant.line.said()}"
    plant.pass_minutes(3)
    assert (plant.component_versions((*SIMULATED, DEVICE)), plant.judging()) == ({component}, before)
    assert plant.line.container_ids() == containers
    assert {name: plant.line.state(name) for name in CONTAINERS} == dict.fromkeys(CONTAINERS, "RUNNING")
