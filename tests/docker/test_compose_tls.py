"""The line with its bus over TLS, by docker/compose.tls.yaml; the deployer there only tells what runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from lineside.heartbeats import Heartbeat
from tests.support.compose_project import Project, project
from tests.support.waiting import block_until

ON_THE_BUS = ("topic-bridge", "opcua-bridge", "plc-sim", "deployer")


@pytest.fixture(scope="module")
def line(images: dict[str, str], held: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    del images
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("broker")
    certificate.private_key_pem.write_to_path(folder / "broker-key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "broker.pem")
    overlays, profiles = ("docker/compose.tls.yaml",), ("bench", "deployments")
    with project(held, overlays=overlays, profiles=profiles, LINESIDE_TLS=str(folder)) as made:
        made.up()
        yield made


def test_parts_are_judged_over_it(line: Project, tmp_path: Path) -> None:
    status, said, summary = line.attach(10, rate=10, summary=tmp_path / "summary.json")
    assert status == 0, said
    assert sum(summary["verdicts"].values()) == 10


@pytest.mark.parametrize("service", ON_THE_BUS)
def test_each_service_says_that_it_is_encrypted(line: Project, service: str) -> None:
    port = {"topic-bridge": 8081, "opcua-bridge": 8082, "plc-sim": 8091, "deployer": 8084}[service]
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/readyz').read().decode())"

    def bus() -> list[tuple[str, str]]:
        connections = json.loads(line.execute(service, "python", "-c", ask))["connections"]
        return [(each["target"], each["state"]) for each in connections if each["target"].startswith("mqtt")]

    block_until(lambda: bus() == [("mqtts://broker:8883", "ONLINE")], bus)  # the deployer is ready without it, too


def test_what_runs_is_told_over_it_where_models_are_mounted(line: Project) -> None:
    login = ("-u", "operator", "-P", line.passwords()["operator"])
    topic = ("-t", "lineside/+/heartbeat", "-C", "1", "-W", "30")

    def told() -> Any:
        heartbeat = Heartbeat.model_validate_json(line.execute("broker", "mosquitto_sub", *login, *topic))
        return heartbeat.DeviceName == "lineside-bench" and heartbeat.DeploymentResult is None

    block_until(told, "the heartbeat is retained")
    assert json.loads(line.get("DEPLOYER", "/v1/deployments")) == {
        "enabled": False,
        "refused": None,
        "deployments": [],
    }


def test_nothing_in_the_clear_is_listened_to(line: Project) -> None:
    reach = "import socket; socket.create_connection(('broker', {}), 2)"
    assert "Refused" in line.execute("topic-bridge", "python", "-c", reach.format(1883), check=False)
    line.execute("topic-bridge", "python", "-c", reach.format(8883))  # the control: this one is listened to
