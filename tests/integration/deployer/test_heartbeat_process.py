"""Heartbeats of a real box: what Triton says, kept at a broker, and counted by the fleet's report."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
import typer
from paho.mqtt.enums import CallbackAPIVersion
from typer.testing import CliRunner

from lineside.heartbeats import Heartbeat, parse
from lineside_fleet.commands import fleet
from tests.support.deployer_rig import Box
from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker
from tests.support.waiting import HANG_S, block_until

TOPIC = "lineside/line-7/heartbeat"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    folder = tmp_path / "broker"
    folder.mkdir()
    yield from running_broker("mosquitto" if MOSQUITTO else "amqtt", folder)


class Ear:
    """Hears every heartbeat, retained or not."""

    def __init__(self, port: int) -> None:
        self.heard: list[Heartbeat] = []
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_more: client.subscribe(TOPIC, 1)
        self._client.on_message = lambda _client, _data, message: self.heard.append(parse(message.payload))
        self._client.reconnect_delay_set(1, 1)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def figures(heartbeat: Heartbeat, model: str) -> dict[str, float]:
    found = next(each for each in heartbeat.Models if each.ModelName == model)
    return {each.MetricName: each.Value for each in found.ModelMetrics}


def agent(heartbeat: Heartbeat) -> dict[str, float]:
    return {each.MetricName: each.Value for each in heartbeat.AgentMetrics}


def test_what_runs_is_told(box: Box, broker: Broker) -> None:
    deployer = box.deployer(heartbeat={"period_s": 1})
    deployer.document["bus"] = {"port": broker.port, "keepalive_s": 2}
    deployer.document["edge_manager"]["DeploymentEnable"] = False
    for _ in range(3):
        assert box.score("first") == 0.25
    deployer.start()
    deployer.wait_ready()
    ear = Ear(broker.port)
    try:
        first = block_until(
            lambda: next((each for each in ear.heard if each.Models), None), deployer.log, within=HANG_S
        )
        assert (first.DeviceName, first.DeviceFleetName, first.DeploymentResult) == ("line-7", "plant", None)
        assert {(each.ModelName, each.ModelVersion) for each in first.Models} == {("first", "1"), ("second", "1")}
        stats: Any = httpx.get(f"{box.triton.http}/v2/models/first/versions/1/stats").json()["model_stats"][0]
        told = figures(first, "first")
        assert told["InferenceCount"] == stats["inference_count"]
        assert told["RequestCount"] == stats["inference_stats"]["success"]["count"]
        assert told["ErrorCount"] == stats["inference_stats"]["fail"]["count"]
        latest = next(each for each in first.Models if each.ModelName == "first").LatestInference
        assert latest == stats["last_inference"] / 1000

        # A kill -9 is a crash, and the box is the same; nothing is deployed where that is off.
        assert agent(first)["CrashCount"] == 0
        assert deployer.http.post("/v1/deployments/notice").status_code == 409
        deployer.kill()
        deployer.start()
        crashed = block_until(lambda: [each for each in ear.heard if agent(each)["CrashCount"] == 1], deployer.log)
        again = crashed[0]
        assert again.BoxId == first.BoxId

        lineside = typer.Typer()
        lineside.add_typer(fleet, name="fleet")
        words = ["fleet", "report", f"mqtt://127.0.0.1:{broker.port}", "--seconds", "2", "--period", "3600"]
        report = json.loads(CliRunner().invoke(lineside, words, catch_exceptions=False).stdout)
        assert report["DeviceStats"]["RegisteredDeviceCount"] == 1
        assert {each["ModelName"] for each in report["ModelStats"]} == {"first", "second"}

        # While inference is away, nothing old is told of its models.
        box.inference.stop()
        block_until(
            lambda: ear.heard[-1].Models == () and agent(ear.heard[-1])["InferenceServiceUp"] == 0, deployer.log
        )
    finally:
        ear.close()
