from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside.settings import BusSettings, BusTlsSettings, Settings, load


def test_an_address_says_whether_it_is_encrypted() -> None:
    assert BusSettings(host="broker").url == "mqtt://broker:1883"
    assert BusSettings(host="broker", port=8883, tls=BusTlsSettings()).url == "mqtts://broker:8883"


def test_tls_is_set_by_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIDE_BUS__TLS__CA_FILE", "/run/secrets/ca.pem")
    assert load(Settings).bus.tls == BusTlsSettings(ca_file=Path("/run/secrets/ca.pem"))


@pytest.mark.parametrize("given", ["cert_file", "key_file"])
def test_a_certificate_needs_its_key(tmp_path: Path, given: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"bus:\n  tls:\n    {given}: own.pem\n")
    with pytest.raises(SettingsError, match=r"bus.tls: cert_file and key_file: give both or neither"):
        load(Settings, file=file)


def test_there_is_no_way_to_leave_the_check_out(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("bus:\n  tls:\n    insecure: true\n")
    with pytest.raises(SettingsError, match=r"bus.tls.insecure: not a setting"):
        load(Settings, file=file)


def test_over_ipc_nothing_of_a_broker_is_shown() -> None:
    assert BusSettings(transport="ipc", host="broker").url == "greengrass ipc"


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("max_message_bytes: 6145", r"max_message_bytes: transport ipc takes 6144 bytes at most \(got 6145\)"),
        ('request_topic: "local/*"', r"request_topic: Greengrass takes no \* in a topic"),
    ],
)
def test_what_ipc_cannot_carry_is_refused_at_the_start(tmp_path: Path, setting: str, says: str) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"bus:\n  {setting}\n")
    assert load(Settings, file=file).bus.transport == "mqtt"
    file.write_text(f"bus:\n  transport: ipc\n  {setting}\n")
    with pytest.raises(SettingsError, match=says):
        load(Settings, file=file)


def test_the_components_name_is_no_setting_and_does_not_stop_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINESIDE_COMPONENT", "com.lineside.Test")
    assert load(Settings).thing == "bench"
