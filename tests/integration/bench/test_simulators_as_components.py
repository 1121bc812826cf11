"""The simulated PLC and cameras as Greengrass components: configured, RUNNING, the bus watched by IPC."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside.settings import COMPONENT_VARIABLE
from lineside_bench.greengrass.ipc_server import CLASSIC, IpcServer
from lineside_bench.processes.process import clean_environment
from tests.support.greengrass import access_control, core_device
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

BIN = Path(sys.executable).parent
PLC, CAMERAS = "com.lineside.PlcSim", "com.lineside.CameraSim"


@contextmanager
def simulator(server: IpcServer, name: str, program: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**clean_environment(), **server.environment(name), COMPONENT_VARIABLE: name}
    with log.open("ab") as file:
        process = subprocess.Popen([BIN / program], env=environment, stdout=file, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait(HANG_S)


@pytest.fixture
def core() -> Iterator[IpcServer]:
    with core_device(CLASSIC, PLC, CAMERAS) as server:
        yield server


def configuration(**more: Any) -> dict[str, Any]:
    return {
        "bus": {"transport": "ipc"},
        "plc_sim": {"http": {"port": free_port()}, "opcua": {"port": free_port()}, **more},
    }


def test_the_plc_watches_requests_and_results_by_ipc_and_ends_with_its_connection(
    core: IpcServer, tmp_path: Path
) -> None:
    document = configuration(rate=0)
    core.core.merge(PLC, (), document)
    log = tmp_path / "plc.log"
    with simulator(core, PLC, "lineside-plc-sim", log) as process:
        block_until(lambda: core.core.components[PLC].states == ["RUNNING"], log.read_text)
        ready = httpx.get(f"http://127.0.0.1:{document['plc_sim']['http']['port']}/readyz", timeout=HANG_S).json()
        [bus] = [each for each in ready["connections"] if each["name"] == "broker"]
        assert bus["state"] == "ONLINE"
        assert bus["target"] == "greengrass ipc"
        core.drop(PLC)
        assert process.wait(HANG_S) == 1, log.read_text()


def test_a_plc_that_may_not_watch_says_what_its_recipe_lacks(core: IpcServer, tmp_path: Path) -> None:
    core.core.components[PLC].configuration = configuration()
    core.core.components[PLC].configuration["accessControl"] = access_control(PLC, (REQUEST_TOPIC,))
    log = tmp_path / "plc.log"
    with simulator(core, PLC, "lineside-plc-sim", log):
        block_until(lambda: "SubscribeToTopic" in log.read_text() and RESULT_TOPIC in log.read_text(), log.read_text)
    assert core.core.components[PLC].states == []


def test_the_cameras_need_no_bus(core: IpcServer, tmp_path: Path) -> None:
    core.core.merge(CAMERAS, (), {"camera_sim": {"http": {"port": free_port()}}})
    log = tmp_path / "cameras.log"
    with simulator(core, CAMERAS, "lineside-camera-sim", log):
        block_until(lambda: core.core.components[CAMERAS].states == ["RUNNING"], log.read_text)
