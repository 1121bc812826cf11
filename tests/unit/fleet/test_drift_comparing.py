import pytest

from lineside_fleet.aws.deployments import Revision
from lineside_fleet.drift.comparing import (
    Device,
    Heard,
    Installed,
    Said,
    differences,
    heartbeat_differences,
    odd_ones,
    version_differences,
)
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
    return {name: Device(name, {}, NOW, Said({"inference": each})) for name, each in hashes.items()}


def test_settings_that_differ_from_most_alike_devices_were_changed_by_hand():
    hashes = {f"d{number}": "a" for number in range(5)} | {"odd": "b"}
    wanted = {name: desired([], name, {}, {}) for name in hashes}
    told = list(odd_ones(devices(hashes), wanted))
    assert [(each.thing, each.kind, each.desired, each.actual) for each in told] == [("odd", "settings", "a", "b")]


def test_settings_without_a_clear_majority_say_nothing():
    for hashes in ({"d1": "a", "d2": "b"}, {"d1": "a", "d2": "a", "d3": "a", "d4": "b", "d5": "b", "d6": "b"}):
        wanted = {name: desired([], name, {}, {}) for name in hashes}
        assert list(odd_ones(devices(hashes), wanted)) == []


def serving(versions):
    """Return devices by name, which say that these versions of one model are there; None: nothing of models."""
    models = {name: None if each is None else {"surface": frozenset(each)} for name, each in versions.items()}
    return {name: Device(name, {}, NOW, Said(models=each)) for name, each in models.items()}


def test_a_model_that_is_another_than_on_most_alike_devices_differs():
    versions = {**{f"d{number}": ["2"] for number in range(5)}, "odd": ["1"], "both": ["1", "2"], "away": None}
    found = serving(versions)
    found["none"] = Device("none", {}, NOW, Said(models={}))
    told = list(odd_ones(found, {name: desired([], name, {}, {}) for name in found}))
    assert {(each.thing, each.kind, each.component, each.desired, each.actual) for each in told} == {
        ("odd", "model", "surface", "2", "1"),
        ("both", "model", "surface", "2", "1, 2"),
        ("none", "model", "surface", "2", ""),
    }


EXPORTER = "com.lineside.Exporter"


def naming(number, target, merge, **more):
    revised = revision(number, target, {EXPORTER: "0.2.0"}, **more)
    revised.components[EXPORTER]["configurationUpdate"] = {"merge": merge}
    return revised


NAMES = '{"exporter": {"desired": {"components": {"inference": "0.2.0"}, "models": {"surface": "2", "weld": "1"}}}}'


def test_versions_that_a_deployment_names_to_the_exporter_are_what_should_be_there():
    wanted = desired([naming(1, ALL, NAMES)], "d1", MEMBERS, {})
    assert (wanted.services, wanted.models) == ({"inference": "0.2.0"}, {"surface": "2", "weld": "1"})
    said = Said(services={"inference": "0.1.0", "forwarder": "0.1.0"}, models={"surface": frozenset({"1", "3"})})
    told = list(version_differences(Device("d1", {}, NOW, said), wanted))
    assert [(each.kind, each.component, each.desired, each.actual) for each in told] == [
        ("version", "inference", "0.2.0", "0.1.0"),
        ("model", "surface", "2", "1, 3"),
        ("model", "weld", "1", ""),
    ]
    right = Said(services={"inference": "0.2.0"}, models={"surface": frozenset({"1", "2"}), "weld": frozenset({"1"})})
    assert list(version_differences(Device("d1", {}, NOW, right), wanted)) == []
    assert list(version_differences(Device("d1"), wanted)) == []  # it says nothing


def test_versions_of_a_deployment_under_way_are_no_drift_yet():
    wanted = desired([naming(1, ALL, NAMES, status="ACTIVE")], "d1", MEMBERS, {"1": {"d1"}})
    said = Said(services={"inference": "0.1.0"}, models={})
    assert list(version_differences(Device("d1", {}, NOW, said), wanted)) == []


@pytest.mark.parametrize("merge", ["", "{", "[]", '{"exporter": null}', '{"exporter": {"desired": {"models": ["2"]}}}'])
def test_a_configuration_of_another_form_names_nothing(merge):
    wanted = desired([naming(1, ALL, merge)], "d1", MEMBERS, {})
    assert (wanted.services, wanted.models) == ({}, {})


def test_what_the_majority_has_is_no_measure_where_the_deployment_names_it():
    found = serving({f"d{number}": ["1"] for number in range(5)} | {"right": ["2"]})
    members = {ALL: set(found)}
    wanted = {name: desired([naming(1, ALL, NAMES)], name, members, {}) for name in found}
    assert list(odd_ones(found, wanted)) == []


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (None, [("unheard", "", "no heartbeat of it was found")]),
        (Heard(7200, 900), [("silent", "", "its heartbeat is 2.0 h old, and counts for 15 min")]),
        (
            Heard(7200, 900, complaints=(("x", "y"),)),
            [("silent", "", "its heartbeat is 2.0 h old, and counts for 15 min")],
        ),
        (Heard(60, 900), []),
        (Heard(60, 900, complaints=(("inference", "away"),)), [("broken", "inference", "its heartbeat says: away")]),
    ],
)
def test_what_heartbeats_show(heard, expected):
    assert [(each.kind, each.component, each.why) for each in heartbeat_differences("d1", heard)] == expected
