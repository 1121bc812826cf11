import pytest

from lineside.bus.ipc import IpcBus
from lineside.bus.mqtt import MqttBus
from lineside.bus.opening import open_bus
from lineside.checks import Mark
from lineside.cli import common_checks
from lineside.connections import Connection
from lineside.greengrass import client
from lineside.greengrass.errors import NotAComponent
from lineside.settings import BusSettings, Settings

IPC = BusSettings(transport="ipc")


@pytest.fixture(autouse=True)
def no_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_shared", [])
    for name in ("SVCUID", "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"):
        monkeypatch.delenv(name, raising=False)


def as_component(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVCUID", "token")
    monkeypatch.setenv("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", "/run/none")


def test_the_settings_choose_the_transport(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_bus(BusSettings(), client="x", connection=Connection("bus", "")), MqttBus)
    as_component(monkeypatch)
    first = open_bus(IPC, client="x", connection=Connection("bus", ""))
    second = open_bus(IPC, client="y", connection=Connection("bus", ""))
    assert isinstance(first, IpcBus)
    assert isinstance(second, IpcBus)
    assert first._ipc is second._ipc  # one connection a process


def test_ipc_in_a_process_that_is_no_component_is_refused() -> None:
    with pytest.raises(NotAComponent, match=r"bus\.transport: ipc needs a process that Greengrass started"):
        open_bus(IPC, client="x", connection=Connection("bus", ""))


async def test_the_doctor_leaves_a_bus_to_components_that_only_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    check = await common_checks._broker(Settings(bus=IPC))
    assert (check.mark, check.what) == (Mark.SKIP, "bus.transport is ipc: only components of Greengrass have it")
    assert (await common_checks._accounts(IPC)).mark is Mark.OK
    monkeypatch.setenv("SVCUID", "token")
    half = await common_checks._broker(Settings(bus=IPC))
    assert half.mark is Mark.FAIL
    assert "docker run -e AWS_GG" in half.remedy
    as_component(monkeypatch)
    monkeypatch.setattr(client, "_shared", [])
    away = await common_checks._broker(Settings(bus=IPC))
    assert away.mark is Mark.FAIL
    assert "there is no socket /run/none" in away.what
