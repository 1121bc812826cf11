"""The image of the `lineside` command: all that the doctor asks, without a service, a broker or a network."""

import json
from collections.abc import Callable

import pytest

from tests.support.paths import ROOT

HARDENED = ("--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
MOUNTS = (
    *("-v", f"{ROOT}/docker/config/bench.yaml:/etc/lineside/settings.yaml:ro"),
    *("-v", f"{ROOT}/models:/models:ro"),
    *("--tmpfs", "/tmp"),
)


@pytest.fixture(scope="session")
def image(images: dict[str, str]) -> str:
    return images["inference"].replace("/inference:", "/tools:")


def doctor(docker: Callable, image: str, *options: str) -> dict[str, dict[str, str]]:
    """Return what the doctor of the image finds, with no peer anywhere."""
    done = docker("run", *HARDENED, *MOUNTS, *options, image, "doctor", "--json", check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


def test_the_doctor_of_the_image_reports_on_every_service(docker: Callable, image: str) -> None:
    found = doctor(docker, image, "--shm-size", "64m")
    services = "inference, topic_bridge, opcua_bridge, forwarder, exporter, deployer"
    assert found["settings"]["what"].startswith(f"/etc/lineside/settings.yaml: right for {services};")
    assert "in a container (docker)" in found["machine"]["what"]
    assert {found[name]["mark"] for name in ("docker", "docker compose", "nvidia runtime", "ports")} == {"skip"}
    assert {found[name]["mark"] for name in ("broker", "Triton", "inference API", "PLC network")} == {"fail"}
    assert found["model cards"]["mark"] == "ok"
    assert found["shared memory"]["mark"] == "skip"  # room is there, Triton is not


def test_a_container_with_little_shared_memory_is_told(docker: Callable, image: str) -> None:
    found = doctor(docker, image, "--shm-size", "1m")
    assert found["shared memory"]["mark"] == "warn"
    assert "/dev/shm has 1.0 MiB of 1.0 MiB free" in found["shared memory"]["what"]


def test_the_containers_limit_is_its_memory(docker: Callable, image: str) -> None:
    assert "of this container's limit of 300.0 MiB" in doctor(docker, image, "--memory", "300m")["memory"]["what"]


def test_the_image_has_the_command_only_and_no_root(docker: Callable, image: str) -> None:
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", image, "-c", "id -u; ls /opt/lineside/bin")
    uid, *programs = said.stdout.split()
    assert uid == "10001"
    assert "lineside" in programs
    assert not [name for name in programs if name.startswith(("lineside-", "pip"))]
