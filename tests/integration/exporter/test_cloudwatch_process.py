"""The exporter's own process: from a result on the bus to CloudWatch, by its settings alone."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from tests.support.cloudwatch_rig import TOPIC, ask, statistics
from tests.support.mqtt_broker import Broker
from tests.support.ports import free_port
from tests.support.result_messages import message
from tests.support.simulated_s3 import KEYS, Store
from tests.support.waiting import HANG_S, until


@pytest.fixture
def exporter(tmp_path: Path, broker: Broker, moto_server: Store) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = free_port()
    file = tmp_path / "settings.yaml"
    document = {
        "thing": "Test-Process",
        "bus": {"port": broker.port},
        "exporter": {
            "http": {"port": port, "drain_s": 2},
            "services": {},
            "triton": None,
            "cloudwatch": {
                "kind": "put-metric-data",
                "namespace": "Test/Process",
                "region": "us-east-1",
                "endpoint_url": moto_server.url,
                "period_s": 1,
            },
        },
    }
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lineside_exporter", str(file)], env={**os.environ, **KEYS}, stderr=log
        )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(HANG_S)


async def test_a_result_arrives_there(
    exporter: tuple[subprocess.Popen[bytes], int], broker: Broker, moto_server: Store
) -> None:
    process, port = exporter
    link = Connection("bus", "broker", first_s=0.01, longest_s=0.1)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
        MqttBus(broker.settings, client="bench", connection=link) as bus,
    ):

        async def hears() -> bool:
            connections = (await http.get("/readyz")).json()["connections"]
            return any(each["name"] == "bus" and each["state"] == "ONLINE" for each in connections)

        async def metrics_of_four() -> str:
            text = (await http.get("/metrics")).text
            return text if 'cloudwatch_sent_results_total{service="exporter"} 4.0' in text else ""

        await until(hears, despite=(httpx.TransportError,))
        for verdict in ("fail", "pass", "pass", "pass"):
            await bus.publish(TOPIC, message(verdict))
        metrics = await until(metrics_of_four)

    assert (
        'lineside_exporter_connection_state{service="exporter",connection="cloudwatch",state="ONLINE"} 1.0' in metrics
    )
    client = ask(moto_server.url)
    assert sum(statistics(client, "Test/Process", "Defect", "SampleCount")) == 4
    assert sum(statistics(client, "Test/Process", "Defect", "Sum")) == 1
    process.terminate()
    assert await asyncio.to_thread(process.wait, 20) == 0
