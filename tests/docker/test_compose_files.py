"""compose.yaml, its overlays and samples as compose reads them: needs its command line, no engine."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

SIMULATORS = {"plc-sim", "camera-sim"}
LINE = {"setup", "broker", "triton", "inference", "topic-bridge", "opcua-bridge", "forwarder", "exporter"}
ONCE = {"setup", "tools"}
"""What does its work and ends."""
WATCHING = {"prometheus", "alertmanager", "grafana"}


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return the services, or `what`, as `docker compose config` resolves them."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    for name in ("COMPOSE_FILE", "COMPOSE_PROFILES", "LINESIDE_SETTINGS", "LINESIDE_MODELS", "LINESIDE_CAMERA_DRIVER"):
        monkeypatch.delenv(name, raising=False)

    def ask(*arguments: str, what: str = "services") -> dict[str, Any]:
        done = subprocess.run(
            ["docker", "compose", *arguments, "config", "--format", "json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)[what]
        return found

    return ask


@pytest.mark.parametrize(
    ("arguments", "services"),
    [
        ((), LINE | SIMULATORS),
        (("--profile", "observability"), LINE | SIMULATORS | WATCHING),
        (("--profile", "s3"), LINE | SIMULATORS | {"s3"}),
        (("--profile", "plant"), LINE),
        (("--env-file", "docker/s3.env"), LINE | SIMULATORS | {"s3"}),
        (("--env-file", "docker/plant.env"), LINE | WATCHING),
        (("--env-file", "docker/jetson.env"), LINE | WATCHING),
        (("--profile", "deployments"), LINE | {"deployer"}),
        (("--env-file", "docker/deployer.env"), LINE | WATCHING | {"deployer"}),
    ],
)
def test_a_profile_brings_its_services(config, arguments, services) -> None:
    assert set(config(*arguments)) == services


def test_every_service_is_written_hard(config) -> None:
    """Also those that no test here runs, as Grafana."""
    services = config("--profile", "*")
    assert set(services) >= LINE | SIMULATORS | WATCHING
    for name, each in services.items():
        is_setup, is_brief = name == "setup", name in {"setup", "tools"}
        assert each["read_only"] is True, name
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert not {"privileged", "devices", "pid", "ipc"} & set(each), name
        assert each.get("cap_add", []) == (["CHOWN"] if is_setup else []), name
        assert (each["user"].split(":")[0] == "0") is is_setup, name
        assert each["restart"] == ("no" if is_brief else "unless-stopped"), name
        assert int(each["mem_limit"]) > 0, name
        assert each["cpus"] > 0, name
        assert each["pids_limit"] > 0, name
        assert each["logging"] == {"driver": "json-file", "options": {"max-file": "5", "max-size": "10m"}}, name
        assert is_brief or each["healthcheck"], name
        assert {port["host_ip"] for port in each.get("ports", ())} <= {"127.0.0.1"}, name
        assert all(mount.get("read_only") for mount in each.get("volumes", ()) if mount["type"] == "bind"), name


def test_each_service_waits_for_what_it_needs(config) -> None:
    services = config("--profile", "*")
    waits = {
        name: {peer: how["condition"] for peer, how in each.get("depends_on", {}).items()}
        for name, each in services.items()
    }
    assert waits["broker"] == {"setup": "service_completed_successfully"}
    assert waits["inference"] == {"setup": "service_completed_successfully", "triton": "service_healthy"}
    assert waits["forwarder"] == {"setup": "service_completed_successfully"}
    for name in ("topic-bridge", "opcua-bridge", "exporter", "deployer"):
        assert waits[name] == {"broker": "service_healthy"}
    assert waits["plc-sim"] == {"broker": "service_healthy", "camera-sim": "service_healthy"}


def test_no_image_of_ours_is_asked_of_a_registry(config) -> None:
    built = {name: each.get("pull_policy") for name, each in config("--profile", "*").items() if "build" in each}
    assert built.keys() >= {*LINE, "deployer", "s3", "plc-sim", "camera-sim"} - {"setup", "broker"}
    assert set(built.values()) == {"never"}


def test_images_can_be_pinned_by_digest_our_bases_too(config, tmp_path: Path) -> None:
    digest = "sha256:" + "5" * 64
    versions = (ROOT / "docker" / "versions.env").read_text(encoding="utf-8").splitlines()
    lines = [f"{line}@{digest}" for line in versions if "_IMAGE=" in line and not line.startswith("#")]
    (tmp_path / "digests.env").write_text("\n".join(lines), encoding="utf-8")
    services = config("--env-file", ".env", "--env-file", str(tmp_path / "digests.env"), "--profile", "*")
    for name, each in services.items():
        base = each["build"]["args"]["PYTHON_IMAGE"] if "build" in each else each["image"]
        assert base.endswith(digest), name


def test_on_a_jetson_triton_alone_gets_the_gpu(config) -> None:
    services = config("--env-file", "docker/jetson.env")
    assert {name for name, each in services.items() if "runtime" in each} == {"triton"}
    assert services["triton"]["runtime"] == "nvidia"
    assert services["triton"]["build"]["dockerfile"] == "docker/triton-l4t/Dockerfile"
    assert "triton-l4t" in services["triton"]["image"]


def test_on_a_jetson_triton_and_inference_share_the_engines_that_are_built_there(config) -> None:
    services = config("--env-file", "docker/jetson.env", "--profile", "*")
    share = {name for name, each in services.items() for one in each.get("volumes", ()) if one["source"] == "plans"}
    assert share == {"triton", "inference", "tools"}
    folder = "/var/lib/lineside/plans"
    for name in ("inference", "tools"):
        assert services[name]["environment"]["LINESIDE_INFERENCE__TENSORRT__FOLDER"] == folder
    assert "TENSORRT" not in json.dumps(config("--profile", "*")), "nothing of it on a machine without a GPU"


def mounts(services: dict[str, Any], source: str) -> dict[str, dict[str, Any]]:
    """Return how each service has a volume."""
    return {name: one for name, each in services.items() for one in each.get("volumes", ()) if one["source"] == source}


def test_models_that_are_deployed_are_written_by_the_deployer_alone_and_take_its_owner(config) -> None:
    services = config("--env-file", "docker/deployer.env", "--profile", "*")
    models = mounts(services, "models")
    assert set(models) == {"triton", "inference", "tools", "deployer"}
    readers = {name: one for name, one in models.items() if one.get("read_only") and one["volume"].get("nocopy")}
    assert set(readers) == {"triton", "inference", "tools"}
    assert {one["target"] for one in readers.values()} == {"/models"}
    assert services["deployer"]["environment"]["LINESIDE_DEPLOYER__MODEL_REPOSITORY"] == models["deployer"]["target"]
    said = {
        name for name, each in services.items() for it in (each.get("environment") or ()) if "DEPLOYMENTENABLE" in it
    }
    assert said == {"inference", "deployer", "tools"}
    assert "./models" not in json.dumps(services)


def test_only_with_the_deployer_s_overlay_may_there_be_no_models(config) -> None:
    def environment(*arguments: str) -> dict[str, str]:
        return config(*arguments, "--profile", "*")["triton"].get("environment") or {}

    assert environment("--env-file", "docker/deployer.env") == {"MODELS_MAY_BE_EMPTY": "true"}
    for others in ((), ("--env-file", "docker/plant.env"), ("--env-file", "docker/jetson.env")):
        assert "MODELS_MAY_BE_EMPTY" not in environment(*others)


def test_on_a_jetson_too_models_may_be_deployed(config) -> None:
    files = ("compose.yaml", "docker/compose.jetson.yaml", "docker/compose.deployer.yaml")
    services = config(*(word for file in files for word in ("-f", file)), "--profile", "*")
    assert services["triton"]["environment"].keys() == {
        "MODELS_MAY_BE_EMPTY",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    }
    assert {"TENSORRT", "DEPLOYMENTENABLE"} == {
        word for word in ("TENSORRT", "DEPLOYMENTENABLE") if word in json.dumps(services["inference"]["environment"])
    }


def test_over_tls_every_client_of_the_broker_is_told_of_it(config) -> None:
    services = config("-f", "compose.yaml", "-f", "docker/compose.tls.yaml", "--profile", "*")
    on_the_bus = {
        name for name, each in services.items() if "LINESIDE_BUS__USERNAME" in (each.get("environment") or {})
    }
    assert on_the_bus == {"topic-bridge", "opcua-bridge", "exporter", "deployer", "plc-sim", "tools"}
    for name in on_the_bus:
        assert services[name]["environment"]["LINESIDE_BUS__TLS__CA_FILE"] == "/run/secrets/lineside-tls/ca.pem"
        assert services[name]["environment"]["LINESIDE_BUS__PORT"] == "8883"
    conf = (ROOT / "docker" / "mosquitto" / "tls.conf").read_text()
    plain = (ROOT / "docker" / "mosquitto" / "mosquitto.conf").read_text()
    assert set(plain.splitlines()) - set(conf.splitlines()) <= {"listener 1883", *plain.splitlines()[:3]}


def test_the_engine_s_socket_goes_to_the_exporter_only_when_asked(config, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "docker.sock" not in json.dumps(config("--profile", "*"))
    monkeypatch.setenv("LINESIDE_DOCKER_GROUP", "999")
    services = config("-f", "compose.yaml", "-f", "docker/compose.docker-socket.yaml", "--profile", "*")
    assert {name for name, each in services.items() if "docker.sock" in json.dumps(each)} == {"exporter"}
    assert services["exporter"]["group_add"] == ["999"]


CARD = {
    "LINESIDE_CAMERA_CARD": "eth1",
    "LINESIDE_CAMERA_SUBNET": "192.168.100.0/24",
    "LINESIDE_CAMERA_ADDRESSES": "192.168.100.8/30",
}


@pytest.fixture
def gige(config, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Return services, or networks, with the overlay of GigE cameras."""
    for name, value in CARD.items():
        monkeypatch.setenv(name, value)
    return lambda *more, what="services": config(
        *("-f", "compose.yaml", *more, "-f", "docker/compose.gige.yaml", "--profile", "*"), what=what
    )


def test_gige_cameras_are_reached_by_an_address_in_their_network_and_by_no_other_right(config, gige) -> None:
    plain, services = config("--profile", "*"), gige()
    changed = {name for name in services if services[name] != plain[name]}
    assert changed == {"inference", "tools"}
    for name in changed:
        assert set(services[name].pop("networks")) - set(plain[name].pop("networks")) == {"cameras"}, name
        assert services[name] == plain[name], name
    cameras = gige(what="networks")["cameras"]
    assert (cameras["driver"], cameras["internal"]) == ("macvlan", True)
    assert cameras["driver_opts"] == {"parent": "eth1"}
    assert cameras["ipam"]["config"] == [{"subnet": "192.168.100.0/24", "ip_range": "192.168.100.8/30"}]


def test_gige_cameras_on_a_jetson(gige) -> None:
    services = gige("-f", "docker/compose.jetson.yaml")
    assert services["triton"]["runtime"] == "nvidia"
    assert set(services["inference"]["networks"]) == {"plant", "inside", "engine", "cameras"}


@pytest.mark.parametrize("name", CARD)
def test_a_card_that_is_not_named_is_asked_for(name: str, gige, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gige()  # the control
    monkeypatch.delenv(name)
    with pytest.raises(AssertionError, match=f"required variable {name} is missing a value"):
        gige()


def test_usb3_cameras_are_devices_of_one_kind_and_nothing_else(config) -> None:
    services = config("-f", "compose.yaml", "-f", "docker/compose.usb3.yaml", "--profile", "*")
    assert {name for name, each in services.items() if "usb" in json.dumps(each)} == {"inference", "tools"}
    for name in ("inference", "tools"):
        assert services[name]["device_cgroup_rules"] == ["c 189:* rw"], name
        assert not {"privileged", "devices", "cap_add"} & set(services[name]), name
        assert all(mount["read_only"] for mount in services[name]["volumes"] if mount["type"] == "bind"), name
        assert services[name]["user"] == "10001:10001", name


def test_the_plant_s_sample_is_right_for_every_service() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lineside"), "config", "check", ROOT / "docker" / "config" / "plant.yaml"],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
