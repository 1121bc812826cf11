"""The line with its bus over TLS, by docker/compose.tls.yaml."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.compose_project import Project, project

ON_THE_BUS = ("topic-bridge", "opcua-bridge", "plc-sim")


@pytest.fixture(scope="module")
def line(images: dict[str, str], held: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    del images
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("broker")
    certificate.private_key_pem.write_to_path(folder / "broker-key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "broker.pem")
    with project(held, overlays=("docker/compose.tls.yaml",), LINESIDE_TLS=str(folder)) as made:
        made.up()
        yield made


def test_parts_are_judged_over_it(line: Project, tmp_path: Path) -> None:
    status, said, summary = line.attach(10, rate=10, summary=tmp_path / "summary.json")
    assert status == 0, said
    assert sum(summary["verdicts"].values()) == 10


@pytest.mark.parametrize("service", ON_THE_BUS)
def test_each_service_says_that_it_is_encrypted(line: Project, service: str) -> None:
    port = {"topic-bridge": 8081, "opcua-bridge": 8082, "plc-sim": 8091}[service]
    ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/readyz').read().decode())"
    connections = json.loads(line.execute(service, "python", "-c", ask))["connections"]
    bus = [(each["target"], each["state"]) for each in connections if each["target"].startswith("mqtt")]
    assert bus == [("mqtts://broker:8883", "ONLINE")]


def test_nothing_in_the_clear_is_listened_to(line: Project) -> None:
    reach = "import socket; socket.create_connection(('broker', {}), 2)"
    assert "Refused" in line.execute("topic-bridge", "python", "-c", reach.format(1883), check=False)
    line.execute("topic-bridge", "python", "-c", reach.format(8883))  # the control: this one is listened to
