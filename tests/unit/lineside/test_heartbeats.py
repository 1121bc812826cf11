import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from lineside.heartbeats import Heartbeat, parse, to_json
from tests.conftest import GOLDEN

SAMPLE = (GOLDEN / "messages" / "heartbeat.json").read_bytes()


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(SAMPLE) | fields).encode()


def test_it_is_read_and_written_without_loss() -> None:
    assert json.loads(to_json(parse(SAMPLE), 6144)) == json.loads(SAMPLE)


def test_it_has_the_form_of_send_heartbeat() -> None:
    """The judge is botocore's description of the service, which does not know what is ours."""
    shape = botocore.session.get_session().get_service_model("sagemaker-edge").operation_model("SendHeartbeat")
    document = json.loads(SAMPLE)
    ours = {"HeartbeatTime", "PeriodSeconds", "BoxId"}
    theirs = {name: value for name, value in document.items() if name not in ours}
    assert set(theirs) == set(shape.input_shape.members)
    report = ParamValidator().validate(theirs, shape.input_shape)
    assert report.generate_report() == ""
    assert set(document["Models"][0]) == set(shape.input_shape.members["Models"].member.members)
    inner = shape.input_shape.members["DeploymentResult"]
    assert set(document["DeploymentResult"]) == set(inner.members)
    models = inner.members["DeploymentModels"].member.members
    assert set(models) - set(document["DeploymentResult"]["DeploymentModels"][0]) == {"RollbackFailureReason"}


def test_times_may_be_text_and_what_is_not_known_is_ignored() -> None:
    found = parse(changed(HeartbeatTime="2026-11-21T12:00:00Z", Weather="fair"))
    assert found.moment == 1795262400.0
    assert parse(changed(HeartbeatTime=None)).moment == 1795262400.0
    assert parse(changed(HeartbeatTime=None, AgentMetrics=[])).moment is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "expected a JSON object, got list"),
        (b"\xff\xfe\x00", "utf-"),
        (b'{"DeviceName": "a", "DeviceName": "b"}', "given twice"),
        (b'{"DeviceName": "a"}', "AgentVersion: Field required"),
        (changed(HeartbeatTime=float("inf")), "no number of JSON"),
        (changed(HeartbeatTime=-1), "HeartbeatTime"),
        (changed(HeartbeatTime="2026-11-21T12:00:00"), "with its zone"),
        (changed(HeartbeatTime="yesterday"), "seconds since 1970"),
        (changed(HeartbeatTime="9" * 40), "seconds since 1970"),
        (changed(HeartbeatTime=[1]), "HeartbeatTime"),
        (changed(PeriodSeconds=0), "PeriodSeconds"),
        (changed(DeviceName=""), "DeviceName"),
        (changed(Models="none"), "Models"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * 300_000, "262144 at most"),
    ],
)
def test_what_is_none_is_refused_in_words(text: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


def heavy(models: int, reason: int) -> Heartbeat:
    document = json.loads(SAMPLE)
    document["Models"] *= models
    document["DeploymentResult"]["DeploymentModels"] *= models
    document["DeploymentResult"]["DeploymentModels"][0]["StatusReason"] = "x" * reason
    return Heartbeat.model_validate(document)


def test_a_long_one_loses_details_first() -> None:
    """Reasons are cut, then figures go, then the models of the deployment, then models; the rest always stays."""
    reasons = json.loads(to_json(heavy(1, 5000), 2048))
    assert reasons["DeploymentResult"]["DeploymentModels"][0]["StatusReason"] == "x" * 200
    assert reasons["Models"][0]["ModelMetrics"]
    figures = json.loads(to_json(heavy(16, 10), 6144))
    assert len(figures["Models"]) == 16
    assert not any("ModelMetrics" in model for model in figures["Models"])
    many = to_json(heavy(500, 10), 6144)
    assert len(many) <= 6144
    few = json.loads(many)
    assert 10 < len(few["Models"]) < 500
    assert few["DeploymentResult"]["DeploymentStatus"] == "FAIL"
    assert few["AgentMetrics"]
