"""What each service reaches for beyond this machine: its bucket, its metrics, and nothing else of AWS or anybody."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.contract import RESULT_TOPIC
from lineside_bench.processes.process import clean_environment
from tests.support.egress import Egress
from tests.support.forwarding import entry, opened
from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.result_messages import message
from tests.support.simulated_s3 import KEYS
from tests.support.waiting import HANG_S, until

TRIGGER = {
    "name": "t",
    "when": {"kind": "edge", "node": "nsu=urn:plant;s=Part"},
    "station": "s1",
    "model": "surface-defect",
    "source": {"kind": "camera", "camera": "c"},
    "deadline_ms": 400,
}
REGION = "eu-central-1"
BUCKET = {"name": "cloud", "kind": "s3", "bucket": "plant-evidence", "region": REGION}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    yield from running_broker("mosquitto" if MOSQUITTO else "amqtt", tmp_path)


class Running:
    """A service's process, the hosts that it asked for, and its health."""

    def __init__(self, folder: Path, service: str, port: int, document: dict[str, Any]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.egress = Egress(folder)
        file = folder / "settings.yaml"
        file.write_text(yaml.safe_dump(document))
        self.log = folder / "log"
        environment = self.egress.environment({**clean_environment(), **KEYS})
        with self.log.open("wb") as log:
            command = [sys.executable, "-m", f"lineside_{service}", str(file)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    async def tries_everything(self) -> None:
        """Wait until each connection was tried."""

        async def tried() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            async with httpx.AsyncClient(trust_env=False) as http:
                links = (await http.get(f"{self.url}/readyz")).json()["connections"]
            return all(link["attempts"] or link["state"] in {"ONLINE", "PAUSED"} for link in links)

        await until(tried, self.log.read_text, despite=(httpx.TransportError,))


@pytest.fixture
def start(tmp_path: Path, broker: Broker) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(service: str, **own: Any) -> Running:
        port = free_port()
        document = {
            "thing": "press-7",
            "bus": {"port": broker.port},
            "spool": {"folder": str(tmp_path / "spool")},
            service: {"http": {"port": port}, **own},
        }
        started.append(Running(tmp_path, service, port, document))
        return started[-1]

    yield start
    for running in started:
        running.process.terminate()
        running.process.wait(HANG_S)


async def test_evidence_goes_to_its_bucket_and_nowhere_else(tmp_path: Path, start: Callable[..., Running]) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.put(entry("capture-1"))
        running = start("forwarder", destinations=[BUCKET])
        await until(lambda: running.egress.hosts, running.log.read_text)
        await running.tries_everything()
    assert running.egress.hosts == {f"plant-evidence.s3.{REGION}.amazonaws.com"}


async def test_metrics_go_to_cloudwatch_and_nowhere_else(broker: Broker, start: Callable[..., Running]) -> None:
    cloudwatch = {"kind": "put-metric-data", "region": REGION, "period_s": 1}
    running = start("exporter", services={}, triton=None, cloudwatch=cloudwatch)
    link = Connection("bus", "broker", first_s=0.01, longest_s=0.1)
    async with MqttBus(broker.settings, client="bench", connection=link) as bus:

        async def asked() -> bool:
            await bus.publish(RESULT_TOPIC, message())
            return bool(running.egress.hosts)

        await until(asked, running.log.read_text)
    assert running.egress.hosts == {f"monitoring.{REGION}.amazonaws.com"}


@pytest.mark.parametrize(
    ("service", "own"),
    [
        ("inference", {"model_repository": str(ROOT / "models"), "triton": {"url": "127.0.0.1:1"}}),
        ("topic_bridge", {"inference_url": "http://127.0.0.1:1"}),
        ("opcua_bridge", {"endpoint": "opc.tcp://127.0.0.1:1", "triggers": [TRIGGER]}),
    ],
)
async def test_the_others_reach_for_what_their_settings_name(
    tmp_path: Path, start: Callable[..., Running], service: str, own: dict[str, Any]
) -> None:
    state = {"state_dir": str(tmp_path / "state")} if service == "inference" else {}
    running = start(service, **own, **state)
    await running.tries_everything()
    assert running.egress.hosts == set()
