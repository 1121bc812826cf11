import pytest

from lineside_fleet.aws.deployments import Revision
from lineside_fleet.drift.comparing import Device, Installed, differences, settings_differences
from lineside_fleet.drift.desired import desired

ALL, SOME = "arn:aws:iot:r:1:thinggroup/all", "arn:aws:iot:r:1:thinggroup/some"
MEMBERS = {ALL: {"d1", "d2"}, SOME: {"d1"}}
A, B = "com.example.A", "com.example.B"
NOW, DAY = 1_000_000.0, 86_400.0


def revision(number, target, components, parent=None, status="COMPLETED"):
    parts = {name: {"componentVersion": version} for name, version in components.items()}
    return Revision(str(number), f"n{number}", target, str(number), status, float(number), parent, parts)


def versions(revisions, thing, pending=None):
    wanted = desired(revisions, thing, MEMBERS, pending or {})
    return {name: pinned.version for name, pinned in wanted.components.items()}


def found(installed, revisions, *, thing="d1", pending=None, age=60.0):
    parts = {name: Installed(*each) if isinstance(each, tuple) else Installed(each) for name, each in installed.items()}
    device = Device(thing, parts, NOW - age)
    wanted = desired(revisions, thing, MEMBERS, pending or {})
    return [(each.kind, each.component) for each in differences(device, wanted, now=NOW, stale_s=DAY)]


def test_a_device_should_run_the_union_of_its_targets():
    revisions = [revision(1, ALL, {A: "1.0.0"}), revision(2, SOME, {B: "2.0.0"})]
    assert versions(revisions, "d1") == {A: "1.0.0", B: "2.0.0"}
    assert versions(revisions, "d2") == {A: "1.0.0"}
    assert versions(revisions, "stranger") == {}


def test_a_subdeployment_counts_in_its_parents_place_until_the_parent_is_newer():
    parent, sub = revision(1, ALL, {A: "1.0.0", B: "1.0.0"}), revision(2, SOME, {A: "2.0.0"}, parent=ALL)
    assert versions([parent, sub], "d1") == {A: "2.0.0"}
    assert versions([revision(3, ALL, {A: "3.0.0"}), sub], "d1") == {A: "3.0.0"}


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ({A: "1.0.0", B: "1.0.0"}, []),
        ({A: "1.0.0"}, [("missing", B)]),
        ({A: "1.0.1", B: "1.0.0"}, [("version", A)]),
        ({A: "1.0.0", B: "1.0.0", "com.example.C": "1.0.0"}, [("extra", "com.example.C")]),
        ({A: ("1.0.0", "BROKEN"), B: "1.0.0"}, [("broken", A)]),
        ({A: ("1.0.0", "RUNNING", "LOCAL"), B: "1.0.0"}, [("by-hand", A)]),
    ],
)
def test_each_difference_has_its_kind(installed, expected):
    assert found(installed, [revision(1, ALL, {A: "1.0.0", B: "1.0.0"})]) == expected


def test_of_an_old_report_nothing_is_said_but_its_age():
    revisions = [revision(1, ALL, {A: "1.0.0"})]
    assert found({A: "0.9.0"}, revisions, age=DAY + 1) == [("stale", "")]
    wanted = desired(revisions, "d1", MEMBERS, {})
    never = list(differences(Device("d1"), wanted, now=NOW, stale_s=DAY))
    assert [each.kind for each in never] == ["unknown"]


def test_what_a_deployment_under_way_will_change_is_no_drift_and_all_else_is():
    revisions = [revision(1, ALL, {A: "1.0.0"}), revision(2, SOME, {B: "2.0.0"}, status="ACTIVE")]
    pending = {"2": {"d1"}}
    assert found({A: "1.0.0", B: "1.0.0"}, revisions, pending=pending) == []
    assert found({A: "0.9.0", B: "1.0.0"}, revisions, pending=pending) == [("version", A)]
    assert found({A: "1.0.0", B: "1.0.0"}, revisions) == [("version", B)]


def test_two_targets_that_pin_two_versions_clash():
    revisions = [revision(1, ALL, {A: "1.0.0"}), revision(2, SOME, {A: "2.0.0"})]
    assert found({A: "1.0.0"}, revisions) == [("clash", A)]
    assert found({A: "1.0.0"}, revisions, thing="d2") == []


def devices(hashes):
    return {name: Device(name, {}, NOW, {"inference": each}) for name, each in hashes.items()}


def test_settings_that_differ_from_most_alike_devices_were_changed_by_hand():
    hashes = {f"d{number}": "a" for number in range(5)} | {"odd": "b"}
    wanted = {name: desired([], name, {}, {}) for name in hashes}
    told = list(settings_differences(devices(hashes), wanted))
    assert [(each.thing, each.kind, each.desired, each.actual) for each in told] == [("odd", "settings", "a", "b")]


def test_settings_without_a_clear_majority_say_nothing():
    for hashes in ({"d1": "a", "d2": "b"}, {"d1": "a", "d2": "a", "d3": "a", "d4": "b", "d5": "b", "d6": "b"}):
        wanted = {name: desired([], name, {}, {}) for name in hashes}
        assert list(settings_differences(devices(hashes), wanted)) == []
