"""Drift over the stand-in, by the command."""

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from lineside_bench.cloud.sample import STAGING
from lineside_fleet.commands import fleet
from tests.support import rollouts
from tests.support.rollouts import MODEL
from tests.support.stand_in_cloud import serving

KINDS = ["broken", "by-hand", "clash", "extra", "missing", "settings", "stale", "unknown", "version"]


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
