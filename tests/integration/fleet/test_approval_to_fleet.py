"""From the approval of a model to the fleet, and back where the gate stops it: each step by its command."""

import pytest
import yaml

from lineside_bench.cloud.sample import BASE
from tests.support.approvals import (
    COMPONENT,
    GROUP,
    MODELS,
    approvals,
    archive_of,
    command,
    on_approval,
    plant,
    register,
)
from tests.support.exported_evidence import many, write
from tests.support.model_packages import model_folder

__all__ = ["approvals", "plant"]

GATE = {
    "latency": {"slower": 0.10},
    "throughput": None,
    "errors": None,
    "defects": None,
    "confidence": None,
    "unknowns": {"ratio": 2, "allowance": 0.02},
}


@pytest.fixture
def staged(plant, moto_server, approvals, tmp_path):
    """Return the file of a rollout whose model was approved and is staged, behind a gate."""
    template = approvals.with_name("template.yaml")
    document = yaml.safe_load(template.read_text(encoding="utf-8"))
    document |= {"stages": document["stages"][:1], "gate": GATE, "state": f"s3://{MODELS}/states/{{rollout}}.json"}
    template.write_text(yaml.safe_dump(document), encoding="utf-8")
    event = register(moto_server.client, archive_of(model_folder(tmp_path / "trained")))
    status, text = on_approval(event, approvals)
    assert status == 0, text
    plant.cloud.world.tick(10)
    return approvals.parent / "rollouts" / f"{GROUP}-{event['detail']['ModelPackageVersion']}.yaml"


def who_has_it(plant):
    return sorted(name for name, each in plant.cloud.world.devices.items() if COMPONENT in each.installed())


STAGING = ["staging-01", "staging-02"]


def test_a_model_that_is_no_worse_goes_to_all_devices(plant, staged, tmp_path):
    assert who_has_it(plant) == STAGING
    before, after = write(tmp_path / "b", many("3")), write(tmp_path / "s", many("4", seed=2))
    evaluate = ("evaluate", staged, "--baseline", before, "--staged", after, "--out", tmp_path / "report")
    status, text = command(*evaluate)
    assert (status, text.splitlines()[0]) == (0, "promote"), text
    assert (tmp_path / "report" / "gate.png").is_file()
    assert command("promote", staged)[0] == 0
    plant.cloud.world.tick(20)
    status, text = command("promote", staged)
    assert (status, "promoted to the whole target" in text) == (0, True), text
    assert len(who_has_it(plant)) == 12
    assert all(set(each.installed()) == {*BASE, COMPONENT} for each in plant.cloud.world.devices.values())


@pytest.mark.parametrize(("slower", "unknowns"), [(1.3, 0.01), (1.0, 0.10), (1.3, 0.10)])
def test_a_worse_model_is_stopped_by_the_gate_and_the_stage_goes_back(plant, staged, tmp_path, slower, unknowns):
    before = write(tmp_path / "b", many("3"))
    after = write(tmp_path / "s", many("4", slower=slower, unknowns=unknowns, seed=2))
    status, text = command("evaluate", staged, "--baseline", before, "--staged", after)
    assert (status, text.splitlines()[0]) == (1, "stop"), text
    status, text = command("promote", staged)
    assert status == 2
    assert "the gate says stop" in text
    assert who_has_it(plant) == STAGING
    assert command("rollback", staged, "--because", "the gate")[0] == 0
    plant.cloud.world.tick(10)
    assert who_has_it(plant) == []
    assert all(each.installed() == dict(sorted(BASE.items())) for each in plant.cloud.world.devices.values())
