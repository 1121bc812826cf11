"""The units of systemd: a program for each service, its patience, what it may do; and that the guides name them all."""

from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

from lineside.settings import SECTIONS, HttpSettings
from tests.support.paths import ROOT

UNITS = ROOT / "systemd"
GUIDE = (ROOT / "docs/how-to/run-without-docker.md").read_text(encoding="utf-8")
CAMERAS = (ROOT / "docs/how-to/connect-a-gige-camera.md").read_text(encoding="utf-8")
SERVICES = [section.replace("_", "-") for section in SECTIONS if section != "deployer"]
"""Those that every box has; the deployer is brought up where models come without Greengrass, by a guide of its own."""


def lines(name: str) -> Iterator[tuple[str, str]]:
    """Yield the settings of a unit, a continued line as one."""
    text = (UNITS / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            yield key, value


def test_every_service_has_its_program_and_is_in_the_target() -> None:
    start = dict(lines("lineside@.service"))["ExecStart"].split()
    assert start == ["/opt/lineside/bin/lineside-%i", "/etc/lineside/settings.yaml"]
    scripts = {entry.name for entry in entry_points(group="console_scripts")}
    wanted = [unit for key, value in lines("lineside.target") if key == "Wants" for unit in value.split()]
    assert wanted == [f"lineside@{name}.service" for name in SERVICES]
    assert {f"lineside-{name}" for name in SERVICES} <= scripts


@pytest.mark.parametrize("name", ["lineside@.service", "lineside-triton.service"])
def test_a_unit_comes_back_by_itself_and_may_do_its_own_work_only(name: str) -> None:
    unit = dict(lines(name))
    assert (unit["Restart"], unit["NoNewPrivileges"], unit["CapabilityBoundingSet"]) == ("always", "yes", "")
    assert (unit["ProtectSystem"], unit["ProtectHome"], unit["User"]) == ("strict", "yes", "lineside")
    assert float(unit["TimeoutStopSec"]) > HttpSettings(port=1).drain_s


def test_triton_has_the_folder_of_clients_models_which_is_there_before_it() -> None:
    unit = dict(lines("lineside-triton.service"))
    repositories = [
        word.partition("=")[2] for word in unit["ExecStart"].split() if word.startswith("--model-repository=")
    ]
    assert repositories == ["/var/lib/lineside-models", "/var/lib/lineside/client-models"]
    assert f"/var/lib/{unit['StateDirectory']}" == repositories[1]


def test_a_wrong_configuration_is_not_tried_again() -> None:
    assert dict(lines("lineside@.service"))["RestartPreventExitStatus"] == "2"


def test_the_exporter_is_another_user_and_owns_nothing_of_the_line() -> None:
    exporter = dict(lines("lineside@exporter.service.d/user.conf"))
    assert exporter["User"] not in {"lineside", "root"}
    assert exporter["StateDirectory"] == ""
    own = dict(lines("lineside@.service"))
    assert (own["StateDirectory"], own["StateDirectoryMode"]) == ("lineside", "0751")


def test_what_tells_the_plc_in_time_has_the_processor_first_and_what_can_wait_last() -> None:
    weights = {
        name: int(dict(lines(f"lineside@{name}.service.d/weight.conf"))["CPUWeight"])
        for name in ("opcua-bridge", "topic-bridge", "forwarder", "exporter")
    }
    usual = 100
    assert weights["opcua-bridge"] > weights["topic-bridge"] > usual > weights["forwarder"]
    assert weights["exporter"] < usual


def test_the_guide_says_how_each_is_brought_up_and_the_accounts_are_those_of_the_containers() -> None:
    assert "lineside@{" + ",".join(SERVICES) + "}" in GUIDE
    for user in ("lineside", "lineside-exporter"):
        assert f"useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {user}\n" in GUIDE
    acl = (ROOT / "docker/mosquitto/acl").read_text(encoding="utf-8")
    accounts = {line.removeprefix("user ") for line in acl.splitlines() if line.startswith("user ")} - {"bench"}
    listed = GUIDE.partition("for account in ")[2].partition(";")[0].split()
    assert set(listed) == accounts


def test_the_receive_buffer_holds_two_frames_and_is_what_the_guide_names() -> None:
    [(name, value)] = lines("60-lineside-gige.conf")
    assert (name.strip(), int(value)) == ("net.core.rmem_max", 2 * 16 * 2**20)
    assert "60-lineside-gige.conf" in CAMERAS


def test_usb_cameras_belong_to_the_group_of_the_container() -> None:
    rule = (UNITS / "70-lineside-usb3-vision.rules").read_text(encoding="utf-8").splitlines()[-1]
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    group = rule.partition('GROUP="')[2].rstrip('"')
    assert f'user: "{group}:{group}"' in compose
    assert 'MODE="0660"' in rule
    assert ":ef0500:" in rule
    assert "70-lineside-usb3-vision.rules" in CAMERAS
