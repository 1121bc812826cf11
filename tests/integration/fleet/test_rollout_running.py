"""A rollout from plan to its end, over the stand-in."""

import json

import pytest
import yaml

from lineside_bench.cloud.devices import Manner
from lineside_bench.cloud.faults import Fault, Kind
from lineside_bench.cloud.sample import BASE, FLEET, NEW_MODEL, STAGING, add_component, add_group, recipe
from lineside_fleet.aws.clients import TRIES
from lineside_fleet.errors import AwsError, FleetError, Refused
from tests.support import rollouts
from tests.support.rollouts import MODEL, Says, drive, runner, write
from tests.support.stand_in_cloud import serving


@pytest.fixture
def server(monkeypatch):
    with serving(devices=30) as running:
        rollouts.at(running, monkeypatch)
        yield running


def installed(server, version):
    """Return the things that run a version of the model."""
    return sorted(name for name, each in server.cloud.world.devices.items() if each.installed().get(MODEL) == version)


def tick(server, minutes=20):
    server.cloud.world.tick(minutes)


def changed(server):
    """Return what the account holds, without what the sample's first deployments were."""
    world = server.cloud.world.snapshot()
    return world["deployments"][2:], sorted(world["groups"])


def refused(path, server):
    with pytest.raises(Refused) as caught:
        runner(path, server).plan()
    assert changed(server) == ([], [FLEET, STAGING])
    return str(caught.value)


def test_a_rollout_goes_by_its_stages_to_all_devices(server, tmp_path):
    path = write(tmp_path)
    plan = runner(path, server).plan()
    assert [len(stage.things) for stage in plan.stages] == [2, 3, 30]
    assert changed(server) == ([], [FLEET, STAGING])
    runner(path, server).start()
    tick(server)
    assert installed(server, NEW_MODEL) == ["staging-01", "staging-02"]
    done = drive(lambda: runner(path, server), server)
    state, _ = done.status()
    assert state.phase == "promoted"
    assert len(installed(server, NEW_MODEL)) == 32
    sets = {json.dumps(each["asked"]["components"], sort_keys=True) for each in changed(server)[0]}
    assert len(sets) == 1  # the same versions in every stage, and all of the target's components
    assert set(changed(server)[0][0]["asked"]["components"]) == set(BASE)
    assert runner(path, server).promote()[1] == "it was promoted to the whole target already"


def test_a_stage_within_the_target_is_a_subdeployment_of_a_group_of_its_own(server, tmp_path):
    path = write(tmp_path, stages=[{"name": "tenth", "percentage": 10}])
    state = runner(path, server).start()
    group = server.cloud.world.groups["lineside-defect-1_1_0-tenth"]
    asked = changed(server)[0][0]["asked"]
    assert sorted(group.members) == sorted(state.current.things)
    assert asked["parentTargetArn"] == server.cloud.world.groups[FLEET].arn
    tick(server)
    assert installed(server, NEW_MODEL) == sorted(state.current.things)


def test_rollback_gives_each_target_its_set_of_before_the_newest_first(server, tmp_path):
    path = write(tmp_path)
    before = server.cloud.world.snapshot()["installed"]
    drive(lambda: runner(path, server), server)
    assert server.cloud.world.snapshot()["installed"] != before
    state, left = runner(path, server).rollback("it was wrong")
    assert runner(path, server).status()[1].counts == {"QUEUED": 30}  # of the rollback
    tick(server, 60)
    assert runner(path, server).status()[1].counts == {"SUCCEEDED": 30}
    assert left == []
    assert state.phase == "rolled-back"
    assert server.cloud.world.snapshot()["installed"] == before
    names = [each["asked"]["deploymentName"] for each in changed(server)[0][3:]]
    assert names == [f"defect-1.1.0/{stage}/rollback" for stage in ("fleet", "staging")]  # the tenth with the fleet
    assert runner(path, server).rollback("again")[0].phase == "rolled-back"
    assert len(changed(server)[0]) == 5


def test_a_stage_within_the_target_that_went_no_further_gets_the_targets_set_again(server, tmp_path):
    path = write(tmp_path, stages=[{"name": "tenth", "percentage": 10}])
    before = server.cloud.world.snapshot()["installed"]
    runner(path, server).start()
    tick(server, 60)
    assert installed(server, NEW_MODEL) != []
    runner(path, server).rollback("back")
    tick(server, 60)
    assert server.cloud.world.snapshot()["installed"] == before
    assert runner(path, server).status()[1].counts == {"SUCCEEDED": 3}


def test_abort_cancels_what_was_not_begun_and_leaves_what_is_there(server, tmp_path):
    server.cloud.world.devices["staging-02"].manner = Manner(offline_until=10_000)
    path = write(tmp_path)
    runner(path, server).start()
    tick(server)
    assert runner(path, server).abort("the line is at its limit").phase == "aborted"
    assert changed(server)[0][0]["executions"] == {"CANCELED": 1, "SUCCEEDED": 1}
    assert installed(server, NEW_MODEL) == ["staging-01"]
    with pytest.raises(Refused, match="is aborted, and cannot promote"):
        runner(path, server).promote()
    runner(path, server).rollback("back")
    tick(server)
    assert installed(server, NEW_MODEL) == []


def test_a_stage_that_fails_stops_the_rollout_and_says_why(server, tmp_path):
    server.cloud.world.devices["staging-01"].manner = Manner(fails=frozenset({f"{MODEL}@{NEW_MODEL}"}))
    path = write(tmp_path)
    runner(path, server).start()
    tick(server)
    assert runner(path, server).evaluate(Says("promote")).verdict == "stop"
    with pytest.raises(Refused, match="1 of 2 devices failed; 0 % may"):
        runner(path, server).promote()
    one = runner(path, server)
    why = one.why_failed(one.status()[0].current)
    assert why == [f"staging-01: FAILED: FAILED_ROLLBACK_COMPLETE: {MODEL} is BROKEN"]


def test_the_gate_is_asked_after_the_window_and_its_verdict_counts(server, tmp_path):
    path = write(tmp_path, window_minutes=60, gate={})
    runner(path, server).start()
    gate = Says("hold", "stop")
    assert runner(path, server).evaluate(gate).verdict == "hold"  # it is under way
    tick(server, 30)
    assert "its window ends at" in runner(path, server).evaluate(gate).sentences[0]
    assert gate.asked == []
    tick(server, 60)
    with pytest.raises(Refused, match="--baseline and --staged"):
        runner(path, server).evaluate(None)
    assert runner(path, server).evaluate(gate).verdict == "hold"
    with pytest.raises(Refused, match="the gate says hold"):
        runner(path, server).promote()
    assert runner(path, server).evaluate(gate).verdict == "stop"
    assert gate.asked == [("staging", 1), ("staging", 2)]
    with pytest.raises(Refused, match="the gate says stop"):
        runner(path, server).promote()
    state, _ = runner(path, server).promote("I looked at it myself")
    assert state.current.name == "tenth"
    assert state.stages[0].looks[-1].why == "by hand: I looked at it myself"


def test_components_that_the_account_lacks_are_made_of_their_recipes(server, tmp_path):
    text = yaml.safe_dump(recipe(MODEL, "2.0.0"))
    (tmp_path / "model.yaml").write_text(text, encoding="utf-8")
    path = write(tmp_path, components={MODEL: {"version": "2.0.0", "recipe": "model.yaml", "merge": {"level": 1}}})
    plan = runner(path, server).plan()
    assert [each["ComponentVersion"] for each in plan.to_make] == ["2.0.0"]
    assert changed(server) == ([], [FLEET, STAGING])
    runner(path, server).start()
    tick(server)
    assert installed(server, "2.0.0") == ["staging-01", "staging-02"]
    part = changed(server)[0][0]["asked"]["components"][MODEL]
    assert json.loads(part["configurationUpdate"]["merge"]) == {"level": 1}


def test_a_version_that_exists_with_other_content_is_refused(server, tmp_path):
    add_component(server.cloud.world, MODEL, "2.0.0", ComponentPublisher="somebody else")
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(recipe(MODEL, "2.0.0")), encoding="utf-8")
    path = write(tmp_path, components={MODEL: {"version": "2.0.0", "recipe": "model.yaml"}})
    assert "version 2.0.0 exists with other content than model.yaml, at componentpublisher" in refused(path, server)


def unpinned(name, version):
    made = recipe(name, version)
    made["Manifests"][0]["Artifacts"][0]["URI"] = "docker:registry.example.com/inference:latest"
    return {"Manifests": made["Manifests"]}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"target": "nobody"}, "there is no thing group 'nobody'"),
        ({"stages": [{"name": "a", "group": "nobody"}]}, "there is no thing group 'nobody'"),
        ({"stages": [{"name": "a", "group": "empty"}]}, "group empty is empty"),
        ({"stages": [{"name": "a", "percentage": 1}]}, "1 % of 30 devices selects nobody; 3.33 % is one device"),
        (
            {"stages": [{"name": "a", "pattern": "core-000*"}, {"name": "b", "names": ["core-0003"]}]},
            "overlap: core-0003",
        ),
        ({"components": {MODEL: "9.9.9"}}, "neither the account nor AWS has version 9.9.9"),
        ({"components": {"com.lineside.Inference": "0.9.0"}}, "inference:latest is not pinned by digest"),
        ({"components": {"com.example.Amd": "1.0.0"}}, "has manifests for amd64, and 32 devices are aarch64"),
        ({"images": {"registry.example.com/x": "sha256:" + "0" * 64}}, "no recipe of the set has an image"),
        ({"target": "with-a-stranger"}, "1 things of the stages are no core devices (printer)"),
    ],
)
def test_what_is_wrong_is_said_before_anything_changes(server, tmp_path, more, words):
    world = server.cloud.world
    world.groups.pop("empty", None)
    add_group(world, "empty", [])
    add_group(world, "with-a-stranger", ["core-0001", "core-0002", "printer"])
    add_component(world, "com.lineside.Inference", "0.9.0", **unpinned("com.lineside.Inference", "0.9.0"))
    add_component(world, "com.example.Amd", "1.0.0", Manifests=[{"Platform": {"architecture": "amd64"}}])
    stages = {"stages": [{"name": "half", "percentage": 50}]} if "target" in more else {}
    with pytest.raises(Refused) as caught:
        runner(write(tmp_path, **{**stages, **more}), server).plan()
    assert words in str(caught.value)
    assert changed(server)[0] == []
    with pytest.raises(Refused):
        runner(write(tmp_path, **{**stages, **more}), server).start()
    assert changed(server)[0] == []


def test_all_that_is_wrong_is_said_at_once(server, tmp_path):
    path = write(tmp_path, components={MODEL: "9.9.9"}, stages=[{"name": "a", "percentage": 1}])
    said = refused(path, server)
    assert "9.9.9" in said
    assert "selects nobody" in said


def test_nothing_is_put_over_somebody_elses_deployment(server, tmp_path):
    path = write(tmp_path)
    runner(path, server).start()
    tick(server)
    runner(path, server).evaluate(None)
    world = server.cloud.world
    parts = {name: {"componentVersion": version} for name, version in BASE.items()}
    foreign = world.deploy({"targetArn": world.groups[FLEET].arn, "deploymentName": "a colleague", "components": parts})
    with pytest.raises(Refused, match=r"the target was revised by deployment .* \(a colleague\)"):
        runner(path, server).promote()
    assert world.latest_of(foreign.target) is foreign
    assert runner(path, server).rollback("back")[1] == []


def test_a_rollout_whose_file_changed_is_refused(server, tmp_path):
    runner(write(tmp_path), server).start()
    with pytest.raises(Refused, match="the file has changed since"):
        runner(write(tmp_path, window_minutes=5), server).promote()
    with pytest.raises(Refused, match="was not started"):
        runner(write(tmp_path, rollout="other"), server).promote()


def test_a_component_that_was_made_anew_meanwhile_is_not_promoted(server, tmp_path):
    path = write(tmp_path)
    runner(path, server).start()
    tick(server)
    runner(path, server).evaluate(None)
    add_component(server.cloud.world, MODEL, NEW_MODEL, ComponentPublisher="somebody else")
    with pytest.raises(Refused, match="is not what was planned"):
        runner(path, server).promote()
    assert len(changed(server)[0]) == 1


@pytest.mark.parametrize(
    ("kind", "operation", "words"),
    [
        (Kind.throttled, "ListCoreDevices", f"was throttled {TRIES} times in a row"),
        (Kind.throttled, "AddThingToThingGroup", f"was throttled {TRIES} times in a row"),
        (Kind.denied, "CreateDeployment", "Allow greengrass:CreateDeployment in the policy"),
        (Kind.denied, "DescribeThingGroup", "Allow iot:DescribeThingGroup in the policy"),
        (Kind.internal, "CreateThingGroup", "failed at AWS"),
        (Kind.half_done, "CreateDeployment", "got no answer"),
        (Kind.dropped, "GetComponent", "got no answer"),
    ],
)
def test_a_failing_call_ends_in_a_sentence_and_the_same_command_goes_on(
    server, tmp_path, monkeypatch, kind, operation, words
):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    path = write(tmp_path, stages=[{"name": "tenth", "percentage": 10}])
    server.cloud.faults.planned = [Fault(kind, operation, times=TRIES)]
    with pytest.raises(AwsError) as caught:
        runner(path, server).start()
    assert words in str(caught.value)
    assert "run the same command again" in str(caught.value)
    server.cloud.faults.planned = []
    state = runner(path, server).start()
    assert state.current.phase == "deployed"
    assert len(changed(server)[0]) == 1
    assert server.cloud.world.groups["lineside-defect-1_1_0-tenth"].members.keys() == set(state.current.things)


def test_a_group_of_the_stages_name_that_is_another_rollouts_is_left_alone(server, tmp_path):
    add_group(server.cloud.world, "lineside-defect-1_1_0-tenth", ["core-0001"])
    with pytest.raises(Refused, match="there already and not of this rollout"):
        runner(write(tmp_path, stages=[{"name": "tenth", "percentage": 10}]), server).start()
    assert changed(server)[0] == []


def test_a_second_command_on_the_same_rollout_is_refused_while_one_works(server, tmp_path):
    path = write(tmp_path)
    one = runner(path, server)
    with one._held("promote"), pytest.raises(FleetError, match="works on this rollout"):
        runner(path, server).start()
    assert runner(path, server).start().phase == "running"
