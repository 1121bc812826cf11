"""Heartbeats as drift compares them."""

import json

import pytest

from lineside_fleet.drift.comparing import Heard, Said
from lineside_fleet.drift.heard import heard, joined
from lineside_fleet.heartbeats.counting import Counted
from lineside_fleet.heartbeats.report import Rules

NOW = 1_000_000.0
MODELS = [{"ModelName": "surface", "ModelVersion": "2"}]


def one(ago=10.0, *, up=True, **more):
    """Return what is heard of a device that sent one heartbeat."""
    metric = {"Dimension": "agent", "MetricName": "InferenceServiceUp", "Value": float(up), "Timestamp": NOW - ago}
    document = {
        "AgentVersion": "0.2.0",
        "DeviceName": "box",
        "DeviceFleetName": "plant",
        "HeartbeatTime": NOW - ago,
        "PeriodSeconds": 60,
        "AgentMetrics": [metric],
        **more,
    }
    counted = Counted()
    counted.take(json.dumps(document).encode(), "here", NOW)
    assert counted.left_out == 0, counted.faults
    return heard(counted.latest, NOW, Rules())["box"]


def test_a_heartbeat_says_models_and_the_version_of_who_sends_it():
    two = [*MODELS, {"ModelName": "surface", "ModelVersion": "3"}]
    found = one(Models=two)
    assert found == Heard(10, 180, Said(services={"deployer": "0.2.0"}, models={"surface": frozenset({"2", "3"})}))


def test_an_old_one_says_its_age_and_no_more():
    assert one(ago=500, Models=MODELS) == Heard(500, 180)


def test_of_models_nothing_is_known_where_the_inference_service_is_away():
    found = one(up=False)
    assert found.said.models is None
    assert found.complaints == (("inference", "the inference service does not answer"),)
    assert one().said.models == {}  # it answers, and has none


@pytest.mark.parametrize(("status", "complains"), [("FAIL", True), ("SUCCESS", False), ("INPROGRESS", False)])
def test_a_deployment_that_failed_is_a_complaint(status, complains):
    result = {"DeploymentName": "night", "DeploymentStatus": status, "DeploymentStatusMessage": "no room"}
    assert one(DeploymentResult=result).complaints == (
        (("night", "its deployment failed: no room"),) if complains else ()
    )


def test_a_heartbeat_counts_before_a_report_and_only_of_what_it_says():
    report = Said({"inference": "a" * 32}, {"inference": "0.1.0", "deployer": "0.1.0"}, {"surface": frozenset({"1"})})
    assert joined(report, None) == report
    assert joined(report, one(Models=MODELS)) == Said(
        report.settings, {"inference": "0.1.0", "deployer": "0.2.0"}, {"surface": frozenset({"2"})}
    )
    assert joined(report, one(up=False)).models == report.models
    assert joined(report, one(ago=500)) == report


def test_a_device_of_two_fleets_counts_by_its_latest_heartbeat():
    counted = Counted()
    for fleet, ago, version in (("a", 5, "2"), ("b", 50, "1")):
        document = {
            "AgentVersion": "0.2.0",
            "DeviceName": "box",
            "DeviceFleetName": fleet,
            "HeartbeatTime": NOW - ago,
            "Models": [{"ModelName": "surface", "ModelVersion": version}],
        }
        counted.take(json.dumps(document).encode(), "here", NOW)
    assert heard(counted.latest, NOW, Rules())["box"].said.models == {"surface": frozenset({"2"})}
