from collections import Counter

import pytest

from lineside_bench.cloud.devices import LITE, Device, Manner, Report
from lineside_bench.cloud.sample import add_component, add_group
from lineside_bench.cloud.wire import Refused
from lineside_bench.cloud.world import World

A, B = "com.example.A", "com.example.B"


def make(devices=4, **manners):
    world = World()
    for name, version in ((A, "1.0.0"), (A, "2.0.0"), (B, "1.0.0")):
        add_component(world, name, version)
    names = [f"d{number}" for number in range(devices)]
    for name in names:
        world.devices[name] = Device(name, manner=manners.get(name, Manner()))
    add_group(world, "all", names)
    return world


def deploy(world, group, components, **more):
    parts = {name: {"componentVersion": version} for name, version in components.items()}
    return world.deploy({"targetArn": world.groups[group].arn, "components": parts, **more})


def states(deployment):
    return dict(Counter(each.status for each in deployment.executions.values()))


def test_a_deployment_replaces_the_set_of_its_target():
    world = make()
    deploy(world, "all", {A: "1.0.0", B: "1.0.0"})
    world.tick(2)
    assert world.devices["d0"].installed() == {A: "1.0.0", B: "1.0.0"}
    second = deploy(world, "all", {A: "2.0.0"})
    world.tick(2)
    assert world.devices["d0"].installed() == {A: "2.0.0"}
    assert [each.status for each in world.deployments.values()] == ["INACTIVE", "COMPLETED"]
    assert world.latest_of(world.groups["all"].arn) is second


def test_a_device_runs_the_union_of_its_targets_and_fails_where_two_pin_two_versions():
    world = make()
    add_group(world, "some", ["d1"])
    deploy(world, "all", {A: "1.0.0"})
    world.tick(2)
    deploy(world, "some", {B: "1.0.0"})
    world.tick(2)
    assert world.devices["d1"].installed() == {A: "1.0.0", B: "1.0.0"}
    clash = deploy(world, "some", {A: "2.0.0"})
    world.tick(2)
    assert clash.executions["d1"].status == "FAILED"
    assert "No version of com.example.A" in clash.executions["d1"].reason
    assert world.devices["d1"].installed() == {A: "1.0.0", B: "1.0.0"}


def test_a_subdeployment_takes_its_parents_place_until_the_parents_next_revision():
    world = make()
    add_group(world, "some", ["d1"])
    deploy(world, "all", {A: "1.0.0"})
    world.tick(2)
    deploy(world, "some", {A: "2.0.0"}, parentTargetArn=world.groups["all"].arn)
    world.tick(2)
    assert world.devices["d1"].installed() == {A: "2.0.0"}
    assert world.devices["d0"].installed() == {A: "1.0.0"}
    deploy(world, "all", {A: "1.0.0", B: "1.0.0"})
    world.tick(2)
    assert world.devices["d1"].installed() == {A: "1.0.0", B: "1.0.0"}


def test_a_broken_component_rolls_back_unless_told_not_to_or_on_nucleus_lite():
    manner = Manner(fails=frozenset({f"{A}@2.0.0"}))
    world = make(d0=manner, d1=manner)
    world.devices["d1"].runtime = LITE
    deploy(world, "all", {A: "1.0.0"})
    world.tick(2)
    failed = deploy(world, "all", {A: "2.0.0"})
    world.tick(2)
    assert failed.status == "COMPLETED"  # which says nothing of the devices
    assert states(failed) == {"FAILED": 2, "SUCCEEDED": 2}
    assert "FAILED_ROLLBACK_COMPLETE" in failed.executions["d0"].reason
    assert (world.devices["d0"].installed()[A], world.devices["d0"].broken) == ("1.0.0", set())
    assert (world.devices["d1"].installed()[A], world.devices["d1"].broken) == ("2.0.0", {A})


def test_slow_and_away_devices_take_their_time_and_a_time_out_ends_it():
    world = make(d0=Manner(pace=3), d1=Manner(offline_until=9), d2=Manner(pace=50))
    job = {"timeoutConfig": {"inProgressTimeoutInMinutes": 5}}
    made = deploy(world, "all", {A: "1.0.0"}, iotJobConfiguration=job)
    world.tick(2)
    assert states(made) == {"IN_PROGRESS": 2, "QUEUED": 1, "SUCCEEDED": 1}
    world.tick(2)
    assert states(made) == {"IN_PROGRESS": 1, "QUEUED": 1, "SUCCEEDED": 2}
    world.tick(7)
    assert states(made) == {"TIMED_OUT": 1, "SUCCEEDED": 3}
    assert made.status == "COMPLETED"


def test_abort_criteria_cancel_the_devices_that_have_not_begun():
    bad = Manner(fails=frozenset({f"{A}@2.0.0"}))
    world = make(10, d0=bad, d1=bad)
    criteria = [
        {"failureType": "FAILED", "action": "CANCEL", "thresholdPercentage": 50, "minNumberOfExecutedThings": 2}
    ]
    job = {"jobExecutionsRolloutConfig": {"maximumPerMinute": 2}, "abortConfig": {"criteriaList": criteria}}
    made = deploy(world, "all", {A: "2.0.0"}, iotJobConfiguration=job)
    world.tick(10)
    assert made.status == "CANCELED"
    assert states(made)["FAILED"] == 2
    assert states(made)["CANCELED"] >= 4


def test_a_newer_revision_cancels_what_was_not_begun_and_a_new_member_gets_what_is_in_force():
    world = make(d0=Manner(offline_until=5))
    first = deploy(world, "all", {A: "1.0.0"})
    world.tick(2)
    second = deploy(world, "all", {A: "2.0.0"})
    assert first.executions["d0"].status == "CANCELED"
    world.devices["late"] = Device("late")
    world.queue(second, "late")
    world.tick(6)
    assert states(second) == {"SUCCEEDED": 5}
    assert world.devices["late"].installed() == {A: "2.0.0"}


def test_a_real_core_carries_its_deployments_out_itself_and_says_so():
    world = make()
    world.devices["d0"].is_real = True
    first = deploy(world, "all", {A: "1.0.0"})
    world.tick(5)
    assert states(first) == {"QUEUED": 1, "SUCCEEDED": 3}
    assert (world.devices["d0"].installed(), world.devices["d0"].reported_at) == ({}, 0)
    world.report(Report("d0", first.id, "IN_PROGRESS", {}))
    world.tick()
    assert states(first) == {"IN_PROGRESS": 1, "SUCCEEDED": 3}
    world.report(Report("d0", first.id, "SUCCEEDED", {A: "1.0.0", B: "9.0.0"}))
    world.tick()
    assert (states(first), first.status) == ({"SUCCEEDED": 4}, "COMPLETED")
    assert world.devices["d0"].installed() == {A: "1.0.0", B: "9.0.0"}  # what it says, and not what it should have
    assert (world.devices["d0"].sources, world.devices["d0"].reported_at) == ({A: first.id}, 6)


def test_what_a_real_core_failed_is_told_by_its_reason_and_what_ended_is_not_ended_again():
    world = make()
    world.devices["d0"].is_real = True
    first = deploy(world, "all", {A: "2.0.0"})
    world.report(Report("d0", first.id, "FAILED", {A: "1.0.0"}, {A}, "FAILED_ROLLBACK_COMPLETE: A is BROKEN"))
    assert first.executions["d0"].reason == "FAILED_ROLLBACK_COMPLETE: A is BROKEN"
    assert (world.devices["d0"].broken, world.devices["d0"].sources) == ({A}, {})
    second = deploy(world, "all", {A: "1.0.0"})
    third = deploy(world, "all", {B: "1.0.0"})
    with pytest.raises(Refused, match="is CANCELED on d0 already"):
        world.report(Report("d0", second.id, "SUCCEEDED", {A: "1.0.0"}))
    assert second.executions["d0"].status == "CANCELED"
    assert world.devices["d0"].broken == set()  # what it runs was heard all the same
    limit = {"timeoutConfig": {"inProgressTimeoutInMinutes": 5}}
    fourth = deploy(world, "all", {B: "1.0.0"}, iotJobConfiguration=limit)
    world.report(Report("d0", fourth.id, "IN_PROGRESS", {}))
    world.tick(6)
    assert (third.executions["d0"].status, fourth.executions["d0"].status) == ("CANCELED", "TIMED_OUT")


@pytest.mark.parametrize(("thing", "deployment"), [("d1", "its own"), ("nobody", "its own"), ("d0", "none")])
def test_a_report_of_what_is_no_real_core_or_no_deployment_of_it_is_refused(thing, deployment):
    world = make()
    world.devices["d0"].is_real = True
    made = deploy(world, "all", {A: "1.0.0"})
    with pytest.raises(Refused, match="does not exist"):
        world.report(Report(thing, made.id if deployment == "its own" else deployment, "SUCCEEDED", {}))
    with pytest.raises(ValueError, match="a core reports IN_PROGRESS, SUCCEEDED, FAILED, REJECTED"):
        Report("d0", made.id, "DONE", {})


def test_what_is_not_there_is_refused():
    world = make()
    with pytest.raises(Refused, match=r"com.example.A@9.0.0"):
        deploy(world, "all", {A: "9.0.0"})
    with pytest.raises(Refused, match="thinggroup nobody"):
        world.deploy({"targetArn": "arn:aws:iot:eu-central-1:123456789012:thinggroup/nobody"})


def test_the_same_calls_and_ticks_make_the_same_world():
    def run():
        world = make(d0=Manner(pace=3))
        deploy(world, "all", {A: "1.0.0"})
        world.tick(2)
        return world.snapshot(), list(world.deployments)

    assert run() == run()
