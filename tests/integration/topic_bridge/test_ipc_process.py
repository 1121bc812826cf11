"""The topic-bridge's own process on Greengrass IPC: it answers there, and ends by itself where IPC is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from lineside.contract import REQUEST_TOPIC, RESULT_TOPIC
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from tests.support.greengrass import COMPONENT, access_control, core_device
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until


@pytest.fixture(params=[CLASSIC, LITE], ids=lambda manner: manner.name)
def server(request: pytest.FixtureRequest) -> Iterator[IpcServer]:
    with core_device(request.param) as running:
        yield running


@contextmanager
def bridge(folder: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a topic-bridge with the settings for IPC; inference is away."""
    file, log = folder / "settings.yaml", folder / "log"
    own = {"http": {"port": free_port(), "drain_s": 1}, "inference_url": f"http://127.0.0.1:{free_port()}"}
    file.write_text(yaml.safe_dump({"bus": {"transport": "ipc"}, "topic_bridge": own}), encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if name != "SVCUID"}
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "lineside_topic_bridge", str(file)], env={**clean, **environment}, stderr=stderr
        )
    try:
        yield process, log
    finally:
        process.kill()
        process.wait(HANG_S)


def component(server: IpcServer) -> dict[str, str]:
    return {**server.environment(COMPONENT), "LINESIDE_COMPONENT": COMPONENT}


def answers(server: IpcServer) -> list[bytes]:
    return [payload for _who, topic, payload in list(server.messages) if topic == f"{RESULT_TOPIC}/error"]


def test_it_answers_over_ipc_and_ends_when_the_connection_does(server: IpcServer, tmp_path: Path) -> None:
    with bridge(tmp_path, component(server)) as (process, log):
        block_until(lambda: len(server.local) == 5, log.read_text)
        server.publish(REQUEST_TOPIC, b"{}")
        [answer] = block_until(lambda: answers(server), log.read_text)
        assert b"schema-unsupported" in answer
        server.drop()
        assert process.wait(HANG_S) == 1
        said = log.read_text()
        assert "the connection to the Greengrass nucleus ended; the process ends too" in said
        assert server.connects == 1
    server.core.renew(COMPONENT)  # as the nucleus does before it starts it again
    server.messages.clear()
    with bridge(tmp_path, component(server)) as (process, log):
        block_until(lambda: len(server.local) == 5, log.read_text)
        server.publish(REQUEST_TOPIC, b"{}")
        block_until(lambda: answers(server), log.read_text)
        process.terminate()
        assert process.wait(HANG_S) == 0
        block_until(lambda: len(server.local) == 0)


def test_a_process_that_is_no_component_is_told_so(tmp_path: Path) -> None:
    with bridge(tmp_path, {}) as (process, log):
        assert process.wait(HANG_S) == 2
        assert "bus.transport: ipc needs a process that Greengrass started" in log.read_text()


def test_a_refused_token_ends_it(server: IpcServer, tmp_path: Path) -> None:
    environment = component(server)
    server.core.renew(COMPONENT)
    with bridge(tmp_path, environment) as (process, log):
        assert process.wait(HANG_S) == 1
        assert f"refuses the token of {COMPONENT}" in log.read_text()


def test_a_topic_that_the_recipe_lacks_is_named_while_the_rest_works(server: IpcServer, tmp_path: Path) -> None:
    policies = access_control(topics=("lineside/*", RESULT_TOPIC, f"{RESULT_TOPIC}/error", "local/outcome"))
    server.core.components[COMPONENT].configuration["accessControl"] = policies
    with bridge(tmp_path, component(server)) as (process, log):
        wanted = f"{COMPONENT} may not use SubscribeToTopic on '{REQUEST_TOPIC}'"
        block_until(lambda: wanted in log.read_text(), log.read_text)
        assert process.poll() is None
        server.core.components[COMPONENT].configuration["accessControl"] = access_control()
        block_until(lambda: len(server.local) == 5, log.read_text)


def test_an_sdk_that_is_not_installed_is_named(server: IpcServer, tmp_path: Path) -> None:
    missing = tmp_path / "awsiot"
    missing.mkdir()
    (missing / "__init__.py").write_text("raise ImportError('no module here')\n")
    with bridge(tmp_path, {**component(server), "PYTHONPATH": str(tmp_path)}) as (process, log):
        assert process.wait(HANG_S) == 2
        assert "extra `greengrass`" in log.read_text()
