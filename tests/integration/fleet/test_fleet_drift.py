"""Drift over the stand-in, by the command."""

import json
import time
from datetime import UTC, datetime, timedelta

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from lineside_bench.cloud.sample import BASE, STAGING
from lineside_fleet.commands import fleet
from tests.support import rollouts
from tests.support.rollouts import MODEL
from tests.support.stand_in_cloud import serving
from tests.support.waiting import HANG_S, block_until

KINDS = [
    *("broken", "by-hand", "clash", "extra", "missing", "model"),
    *("settings", "silent", "stale", "unheard", "unknown", "version"),
]


@pytest.fixture
def server(monkeypatch):
    with serving(devices=20, away_every=0) as running:
        running.cloud.world.start = datetime.now(UTC) - timedelta(minutes=running.cloud.world.now)
        rollouts.at(running, monkeypatch)
        yield running


def drift(*options):
    return CliRunner().invoke(fleet, ["drift", *options])


def test_a_fleet_as_it_should_be_does_not_drift(server):
    result = drift()
    assert (result.exit_code, result.output) == (0, "22 devices: none differs\n")
    calls = server.cloud.calls
    assert calls["ListInstalledComponents"] == 22
    assert sum(calls.values()) <= 22 + 10


def test_each_difference_is_named_with_exit_status_and_metric(server, tmp_path, golden):
    world = server.cloud.world
    world.devices["core-0001"].by_hand[MODEL] = "1.1.0"
    world.devices["core-0002"].by_hand[MODEL] = None
    world.devices["core-0003"].by_hand["com.example.Tool"] = "0.1.0"
    world.devices["core-0004"].broken.add(MODEL)
    world.devices["core-0005"].sources[MODEL] = "LOCAL"
    world.devices["core-0006"].reported_at = world.now - 60 * 48
    reports = [
        {"thing": name, "reported": {"settings_hash": {"inference": ("b" if name == "core-0007" else "a") * 32}}}
        for name in world.devices
    ]
    (tmp_path / "reports.jsonl").write_text("\n".join(map(json.dumps, reports)), encoding="utf-8")
    told = tmp_path / "drift.prom"
    result = drift("--reports", str(tmp_path), "--metrics", str(told), "--json")
    assert result.exit_code == 1
    document = json.loads(result.output)
    assert {(each["thing"], each["kind"], each["component"]) for each in document["differences"]} == {
        ("core-0001", "version", MODEL),
        ("core-0002", "missing", MODEL),
        ("core-0003", "extra", "com.example.Tool"),
        ("core-0004", "broken", MODEL),
        ("core-0005", "by-hand", MODEL),
        ("core-0006", "stale", ""),
        ("core-0007", "settings", "inference"),
    }
    assert document["desired"]["core-0001"][MODEL] == "1.0.0"
    text = told.read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f'lineside_fleet_drift_count{{kind="{kind}"}}' in text] == KINDS
    lines = [line for line in text.splitlines() if "time_seconds" not in line]
    golden("fleet/drift.prom", "\n".join(lines) + "\n")


def heartbeat(thing, *, ago=5.0, models=(("surface-defect", "2"),), up=True, **more):
    moment = time.time() - ago
    metric = {"Dimension": "agent", "MetricName": "InferenceServiceUp", "Value": float(up), "Timestamp": moment}
    document = {
        "AgentVersion": "0.1.0",
        "DeviceName": thing,
        "DeviceFleetName": "plant",
        "HeartbeatTime": moment,
        "PeriodSeconds": 3600,
        "AgentMetrics": [metric],
        "Models": [{"ModelName": name, "ModelVersion": version} for name, version in models],
    }
    return json.dumps(document | more) + "\n"


def found_in(result):
    differences = json.loads(result.stdout)["differences"]
    return {(each["thing"], each["kind"], each["component"], each["desired"], each["actual"]) for each in differences}


def heartbeats_of(world):
    """Return heartbeats of all devices, of which five are not as they should be."""
    odd = {
        "core-0001": "",
        "core-0002": heartbeat("core-0002", ago=4 * 3600),
        "core-0003": heartbeat("core-0003", models=(("surface-defect", "1"),)),
        "core-0004": heartbeat("core-0004", models=(), up=False),
        "core-0005": heartbeat("core-0005", models=()),
    }
    return "".join(odd.get(name, heartbeat(name)) for name in world.devices)


ODD = {
    ("core-0001", "unheard", "", "", ""),
    ("core-0002", "silent", "", "", ""),
    ("core-0003", "model", "surface-defect", "2", "1"),
    ("core-0004", "broken", "inference", "", ""),
    ("core-0005", "model", "surface-defect", "2", ""),
}


def test_heartbeats_show_who_is_silent_and_which_models_differ(server, tmp_path):
    file, told = tmp_path / "beats.jsonl", tmp_path / "drift.prom"
    file.write_text(heartbeats_of(server.cloud.world) + heartbeat("printer"), encoding="utf-8")
    result = drift("--heartbeats", str(file), "--metrics", str(told), "--json")
    assert (result.exit_code, found_in(result)) == (1, ODD)
    assert json.loads(result.stdout)["strangers"] == ["printer"]
    for kind, count in (("unheard", 1), ("silent", 1), ("model", 2), ("broken", 1), ("stale", 0)):
        assert f'lineside_fleet_drift_count{{kind="{kind}"}} {count}.0' in told.read_text(encoding="utf-8")
    file.write_text("".join(map(heartbeat, server.cloud.world.devices)), encoding="utf-8")
    assert drift("--heartbeats", str(file)).output == "22 devices: none differs\n"
    text = drift("--group", STAGING, "--heartbeats", str(file)).output
    assert text == "2 devices: none differs\n"  # the others' heartbeats are no strangers'


def test_heartbeats_come_from_a_bucket_and_from_a_broker_too(server, moto_server, monkeypatch, broker):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_server.url)
    bucket = moto_server.make_bucket("drift-heartbeats")
    told = heartbeats_of(server.cloud.world)
    moto_server.client.put_object(Bucket=bucket, Key="2026/beats.jsonl", Body=told.encode())
    result = drift("--heartbeats", f"s3://{bucket}/2026/", "--json")
    assert (result.exit_code, found_in(result)) == (1, ODD)
    sender = paho.Client(CallbackAPIVersion.VERSION2)
    sender.connect("127.0.0.1", broker.port)
    sender.loop_start()
    for line in told.splitlines():
        name = json.loads(line)["DeviceName"]
        sender.publish(f"lineside/{name}/heartbeat", line, qos=1, retain=True).wait_for_publish(HANG_S)
    sender.disconnect()
    sender.loop_stop()
    place = f"mqtt://127.0.0.1:{broker.port}"
    # How many of the retained ones come within the seconds is the machine's matter; in the end all do.
    block_until(lambda: found_in(drift("--heartbeats", place, "--seconds", "2", "--json")) == ODD)


def test_versions_that_the_deployment_names_to_the_exporter_count(server, tmp_path):
    world = server.cloud.world
    named = {"exporter": {"desired": {"components": {"inference": "0.2.0"}, "models": {"surface-defect": "2"}}}}
    parts = {name: {"componentVersion": version} for name, version in BASE.items()}
    parts[MODEL]["configurationUpdate"] = {"merge": json.dumps(named)}
    world.deploy({"targetArn": world.groups[STAGING].arn, "components": parts})
    world.tick(10)
    beats, shadows = tmp_path / "beats.jsonl", tmp_path / "shadows.jsonl"
    beats.write_text(heartbeat("staging-01", models=(("surface-defect", "1"),)) + heartbeat("staging-02"))
    shadows.write_text(json.dumps({"thing": "staging-02", "reported": {"components": {"inference": "0.1.0"}}}))
    result = drift("--group", STAGING, "--heartbeats", str(beats), "--reports", str(shadows), "--json")
    assert (result.exit_code, found_in(result)) == (
        1,
        {("staging-01", "model", "surface-defect", "2", "1"), ("staging-02", "version", "inference", "0.2.0", "0.1.0")},
    )
    assert json.loads(result.stdout)["desired_models"]["staging-01"] == {"surface-defect": "2"}


def test_reports_come_from_a_bucket_too(server, moto_server, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto_server.url)
    bucket = moto_server.make_bucket("drift-reports")
    shadows = [
        {"thing": name, "reported": {"settings_hash": {"inference": ("b" if name == "core-0007" else "a") * 32}}}
        for name in server.cloud.world.devices
    ]
    moto_server.client.put_object(Bucket=bucket, Key="index/all.json", Body=json.dumps(shadows, indent=2).encode())
    result = drift("--reports", f"s3://{bucket}/index/", "--json")
    assert (result.exit_code, found_in(result)) == (1, {("core-0007", "settings", "inference", "a" * 32, "b" * 32)})
    for key, body, words in (
        ("index/wrong.json", b"{", f"s3://{bucket}/index/wrong.json:1: not JSON"),
        ("index/wrong.json", b"\xff", "cannot be read"),
    ):
        moto_server.client.put_object(Bucket=bucket, Key=key, Body=body)
        result = drift("--reports", f"s3://{bucket}/index/")
        assert (result.exit_code, words in result.output) == (2, True), result.output
    assert "holds no .json" in drift("--reports", f"s3://{bucket}/none/").output


def test_heartbeats_that_cannot_be_read_are_named(server, tmp_path):
    file = tmp_path / "beats.jsonl"
    file.write_text("".join(map(heartbeat, server.cloud.world.devices)) + "{\n", encoding="utf-8")
    result = drift("--heartbeats", str(file))
    assert (result.exit_code, result.stdout) == (1, "22 devices: none differs\n")
    assert f"{file}:23: not JSON" in result.stderr
    for place, words in ((str(tmp_path / "none"), "is not there"), ("ftp://x", "no place of heartbeats")):
        result = drift("--heartbeats", place)
        assert result.exit_code == 2
        assert words in result.output
    file.write_text("", encoding="utf-8")
    result = drift("--heartbeats", str(file))
    assert (result.exit_code, f"no heartbeat in {file}" in result.output) == (2, True)


def test_a_deployment_under_way_is_pending_and_no_drift(server):
    world = server.cloud.world
    parts = {MODEL: {"componentVersion": "1.1.0"}}
    world.deploy({"targetArn": world.groups[STAGING].arn, "components": parts})
    result = drift("--group", STAGING)
    assert (result.exit_code, result.output) == (0, "2 devices: none differs, on 2 a deployment is under way\n")
    world.tick(5)
    assert drift("--group", STAGING).output == "2 devices: none differs\n"


def test_what_cannot_be_done_is_said(server, tmp_path):
    result = drift("--group", "nobody")
    assert result.exit_code == 2
    assert "there is no thing group 'nobody'" in result.output
    result = drift("--metrics", str(tmp_path / "none" / "drift.prom"))
    assert result.exit_code == 2
    assert "cannot be written" in result.output
    assert time.time() > server.cloud.world.start.timestamp()
