import json
from typing import Any

import botocore.session
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from lineside_fleet.heartbeats.counting import Counted
from lineside_fleet.heartbeats.report import Report, Rules, report

NOW = 1_800_000_000.0


def heartbeat(device: str = "a", ago: float = 10, **more: Any) -> dict[str, Any]:
    made = NOW - ago
    return {
        "AgentVersion": "0.1.0",
        "DeviceName": device,
        "DeviceFleetName": "plant",
        "HeartbeatTime": made,
        "PeriodSeconds": 60,
        "Models": [{"ModelName": "surface-defect", "ModelVersion": "2"}],
    } | more


def model(version: str = "2", asked: float | None = None, kept: float | None = None) -> dict[str, Any]:
    found = {"ModelName": "surface-defect", "ModelVersion": version}
    times = {"LatestInference": asked, "LatestSampleTime": kept}
    return found | {name: NOW - ago for name, ago in times.items() if ago is not None}


def counted(*heartbeats: dict[str, Any]) -> Counted:
    all_of = Counted()
    for number, each in enumerate(heartbeats, 1):
        all_of.take(json.dumps(each).encode(), f"f:{number}", NOW)
    return all_of


def made(*heartbeats: dict[str, Any], registered: tuple[str, ...] = (), **rules: float) -> Report:
    return report("plant", counted(*heartbeats).of_fleet("plant"), NOW, Rules(**rules), registered)


def stats(found: Report) -> list[tuple[int, ...]]:
    states = ("Offline", "Connected", "Active", "Sampling")
    return [tuple(each[f"{state}DeviceCount"] for state in states) for each in found.document["ModelStats"]]


def test_connected_is_who_was_heard_within_three_of_its_periods() -> None:
    found = made(heartbeat("a", 180), heartbeat("b", 181), heartbeat("c", 181, PeriodSeconds=61))
    assert found.document["DeviceStats"] == {"ConnectedDeviceCount": 2, "RegisteredDeviceCount": 3}
    assert stats(found) == [(1, 2, 0, 0)]
    assert made(heartbeat("a", 181), periods=4).document["DeviceStats"]["ConnectedDeviceCount"] == 1
    without = heartbeat("a", 1000)
    del without["PeriodSeconds"]
    assert made(without).document["DeviceStats"]["ConnectedDeviceCount"] == 0
    assert made(without, period_s=334).document["DeviceStats"]["ConnectedDeviceCount"] == 1


def test_active_and_sampling_count_before_the_heartbeat_by_the_devices_own_clock() -> None:
    found = made(
        heartbeat("a", 10, Models=[model(asked=20, kept=30)]),
        heartbeat("b", 10, Models=[model(asked=191)]),
        heartbeat("c", 10, Models=[model(asked=189)]),
        heartbeat("d", 500, Models=[model(asked=501, kept=501)]),
    )
    assert stats(found) == [(1, 3, 2, 1)]


def test_a_model_counts_by_its_version() -> None:
    found = made(heartbeat("a", Models=[model("2"), model("3")]), heartbeat("b", Models=[model("3")]))
    assert [each["ModelVersion"] for each in found.document["ModelStats"]] == ["2", "3"]
    assert stats(found) == [(0, 1, 0, 0), (0, 2, 0, 0)]


def test_it_has_the_form_of_get_device_fleet_report() -> None:
    shape = botocore.session.get_session().get_service_model("sagemaker").operation_model("GetDeviceFleetReport")
    document = made(heartbeat()).document
    optional = {"DeviceFleetArn", "OutputConfig", "Description"}
    assert set(document) == set(shape.output_shape.members) - optional
    for name, inner in shape.output_shape.members.items():
        if name not in optional:
            assert ParamValidator().validate(document[name], inner).generate_report() == "", name
    (one,) = document["ModelStats"]
    assert set(one) == set(shape.output_shape.members["ModelStats"].member.members)


def test_the_newest_of_a_device_counts_in_any_order_and_a_repetition_once() -> None:
    old, new = heartbeat("a", 900, AgentVersion="0.0.9"), heartbeat("a", 20)
    for order in ((old, new), (new, old), (new, old, new, new)):
        assert made(*order).document["AgentVersions"] == [{"Version": "0.1.0", "AgentCount": 1}]
    assert counted(new, new, new).repeated == 2


def test_a_clock_in_the_future_makes_no_device_connected_for_ever() -> None:
    found = counted(heartbeat("a", -301), heartbeat("b", -299))
    assert list(found.of_fleet("plant")) == ["b"]
    assert list(found.remarks()) == ["f:1: a sent it 301 s in the future: set that device's clock"]
    arrived = Counted()
    arrived.take(json.dumps(heartbeat("a", -90_000)).encode(), "topic", NOW, NOW)
    assert list(arrived.of_fleet("plant")) == ["a"], "when it came is known by another clock"


def test_bad_lines_are_told_and_counted() -> None:
    found = Counted()
    for number in range(50):
        found.take(b"{" if number else b"\x00\xff", f"f:{number}", NOW)
    found.take(b"  \n", "f:51", NOW)
    told = list(found.remarks())
    assert len(told) == 21
    assert told[0].startswith("f:0: ")
    assert told[-1] == "30 more were left out"
    undated = heartbeat()
    del undated["HeartbeatTime"]
    assert "when it was is not known" in next(counted(undated).remarks())


def test_two_boxes_under_one_name_are_told() -> None:
    both = made(heartbeat("a", 10, BoxId="1"), heartbeat("a", 20, BoxId="2"))
    assert both.remarks == ("a: 2 boxes send heartbeats under this name; give each a thing of its own",)
    exchanged = made(heartbeat("a", 10, BoxId="1"), heartbeat("a", 2000, BoxId="2"))
    assert exchanged.remarks == ()
    assert both.document["DeviceStats"]["ConnectedDeviceCount"] == 1


def test_who_should_be_there_is_compared() -> None:
    found = made(heartbeat("a"), heartbeat("x"), registered=("a", "b"))
    assert found.document["DeviceStats"] == {"ConnectedDeviceCount": 2, "RegisteredDeviceCount": 2}
    assert found.remarks == ("registered and never heard: b", "heard and not registered: x")


def test_a_failed_deployment_is_told() -> None:
    result = {"DeploymentName": "d1", "DeploymentStatus": "FAIL", "DeploymentStatusMessage": "surface-defect: NaN"}
    assert made(heartbeat("a", DeploymentResult=result)).remarks == ("a: deployment d1 failed: surface-defect: NaN",)


def test_ten_thousand_devices() -> None:
    found = made(*(heartbeat(f"d{number}", 10 if number % 4 else 9999) for number in range(10_000)))
    assert found.document["DeviceStats"] == {"ConnectedDeviceCount": 7500, "RegisteredDeviceCount": 10_000}
    assert stats(found) == [(2500, 7500, 0, 0)]


@given(st.binary(max_size=300) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_no_line_ends_it(line: bytes | str) -> None:
    Counted().take(line if isinstance(line, bytes) else line.encode("utf-8", "surrogatepass"), "f:1", NOW)
