"""A service's process as a Greengrass component: its settings, their changes, what it says of proposals, its state."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from lineside.greengrass.component import SOCKET_VARIABLE, TOKEN_VARIABLE
from lineside.settings import COMPANION_VARIABLE, COMPONENT_VARIABLE
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from lineside_bench.processes.process import clean_environment
from tests.support.greengrass import core_device
from tests.support.mqtt_broker import MOSQUITTO, Broker, running_broker
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

NAME = "com.lineside.TopicBridge"
MANNERS = [pytest.param(manner, id=manner.name) for manner in (CLASSIC, LITE)]


class Alive(BaseHTTPRequestHandler):
    """All that the bridge must see of an inference service to be ready."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Bridge:
    """The topic-bridge's process, as the nucleus starts it."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self.port = port
        self._log = folder / f"bridge-{port}.log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lineside_topic_bridge"],
                env={**clean_environment(), "LINESIDE_LOG__FORMAT": "json", **environment},
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def says(self, text: str) -> None:
        block_until(lambda: text in self.log, lambda: self.log)

    def answers(self, path: str, status: int) -> None:
        def answer() -> bool:
            assert self.process.poll() is None, self.log
            try:
                return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=HANG_S).status_code == status
            except httpx.TransportError:
                return False

        block_until(answer, lambda: self.log)

    def exit_status(self) -> int:
        return self.process.wait(HANG_S)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(HANG_S)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    yield from running_broker("mosquitto" if MOSQUITTO else "amqtt", tmp_path)


@pytest.fixture
def core(request: pytest.FixtureRequest, broker: Broker) -> Iterator[IpcServer]:
    """A core device of either manner, whose component's configuration says where the broker is."""
    with core_device(getattr(request, "param", CLASSIC), NAME) as server:
        server.core.merge(NAME, (), {"bus": {"port": str(broker.port)}})
        yield server


@pytest.fixture
def start(core: IpcServer, tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Start the component, each time with a fresh token and on a port that only its configuration names."""
    started: list[Bridge] = []

    def start(**environment: str) -> Bridge:
        port = free_port()
        core.core.merge(NAME, ("topic_bridge", "http"), {"port": float(port)})
        core.core.renew(NAME)
        ours = {**core.environment(NAME), COMPONENT_VARIABLE: NAME, **environment}
        started.append(Bridge(tmp_path, ours, port))
        return started[-1]

    yield start
    for bridge in started:
        bridge.end()


@pytest.fixture
def inference(core: IpcServer) -> Iterator[Callable[[], None]]:
    """Let the inference service be there; until then its port takes no connection."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Alive, bind_and_activate=False)
    server.server_bind()
    core.core.merge(NAME, ("topic_bridge",), {"inference_url": f"http://127.0.0.1:{server.server_port}"})
    threads: list[threading.Thread] = []

    def be_there() -> None:
        server.server_activate()
        threads.append(threading.Thread(target=server.serve_forever, daemon=True))
        threads[0].start()

    yield be_there
    if threads:
        server.shutdown()
    server.server_close()


def states(core: IpcServer) -> list[str]:
    return core.core.components[NAME].states


@pytest.mark.parametrize("core", MANNERS, indirect=True)
def test_it_starts_by_its_configuration_and_runs_once_it_is_ready(
    core: IpcServer, start: Callable[..., Bridge], inference: Callable[[], None]
) -> None:
    bridge = start()
    bridge.answers("/readyz", 503)
    bridge.says('"started"')
    assert states(core) == []
    inference()
    bridge.answers("/readyz", 200)
    block_until(lambda: states(core), lambda: bridge.log)
    core.core.merge(NAME, ("log",), {"level": "debug"})
    bridge.says("the new configuration is in force")
    assert states(core) == ["RUNNING"]


@pytest.mark.parametrize("core", MANNERS, indirect=True)
def test_changes_are_applied_or_end_it_or_are_refused(core: IpcServer, start: Callable[..., Bridge]) -> None:
    bridge = start()
    block_until(lambda: core.connected, lambda: bridge.log)
    bridge.answers("/livez", 200)
    core.core.merge(NAME, ("log",), {"level": "debug"})
    bridge.says('"changed": ["log.level"]')
    bridge.says('"level": "debug"')
    core.core.merge(NAME, ("topic_bridge", "steering"), {"configuration": {"thresholds": {"default": "0.8"}}})
    bridge.says('"changed": ["topic_bridge.steering.configuration"]')
    core.core.merge(NAME, ("topic_bridge",), {"concurrency": "ten", "policy": "perhaps"})
    bridge.says("the new configuration is refused; the one before stays in force")
    for key, meant in (("concurrency: expected a whole number", "'ten'"), ("policy: expected true or", "'perhaps'")):
        assert f"configuration of {NAME}: topic_bridge.{key}" in bridge.log
        assert meant in bridge.log
    bridge.answers("/livez", 200)
    core.core.merge(NAME, ("topic_bridge",), {"concurrency": "4.0", "policy": "false"})
    assert bridge.exit_status() == 1
    assert '"changed": ["topic_bridge.policy", "topic_bridge.concurrency"]' in bridge.log
    again = start()
    again.answers("/livez", 200)
    core.core.merge(NAME, ("topic_bridge",), {"concurrency": 4, "policy": False})  # what it started with
    core.core.merge(NAME, ("log",), {"level": "info"})
    again.says('"changed": ["log.level"]')
    assert again.process.poll() is None


@pytest.mark.parametrize("core", MANNERS, indirect=True)
def test_a_wrong_configuration_refuses_the_start_with_every_key(core: IpcServer, start: Callable[..., Bridge]) -> None:
    core.core.merge(
        NAME, (), {"topic_bridge": {"concurrency": "ten"}, "InferenceTopicIn": "a/#", "lgo": {"level": "x"}}
    )
    bridge = start()
    assert bridge.exit_status() == 2
    assert sorted(bridge.log.splitlines()) == [
        f"configuration of {NAME}: InferenceTopicIn: expected a topic without + and # (got 'a/#')",
        f"configuration of {NAME}: lgo: not a setting; did you mean 'log'?",
        f"configuration of {NAME}: topic_bridge.concurrency: expected a whole number (got 'ten')",
    ]
    assert states(core) == []


@pytest.mark.parametrize("core", MANNERS, indirect=True)
def test_keys_that_are_no_settings_are_ignored_and_listed_once(core: IpcServer, start: Callable[..., Bridge]) -> None:
    listed = f"configuration of {NAME}: ignored, for nothing here knows them: "
    core.core.merge(NAME, (), {"Colour": "red", "topic_bridge": {"zoom": 1}})
    bridge = start()
    bridge.says(listed)
    assert f"{listed}Colour, topic_bridge.zoom" in bridge.log
    core.core.merge(NAME, ("log",), {"level": "debug"})
    bridge.says('"changed": ["log.level"]')
    core.core.merge(NAME, ("log",), {"level": "info", "rotate": "9"})
    bridge.says("topic_bridge.zoom, log.rotate")
    assert bridge.log.count(listed) == 2
    assert bridge.process.poll() is None


def test_a_deployment_is_judged_before_it_comes(core: IpcServer, start: Callable[..., Bridge]) -> None:
    bridge = start()
    good = {**core.core.components[NAME].configuration, "InferenceTopicOut": "plant/judged"}
    wrong = {**good, "topic_bridge": {"concurrency": 10.5}, "bus": {"port": True}}
    block_until(lambda: core.ask_validity(NAME, wrong, "one"), lambda: bridge.log)
    core.ask_validity(NAME, good, "two")
    block_until(lambda: len(core.reports) == 2, lambda: bridge.log)
    [(_one, refused), (_two, taken)] = core.reports
    assert (refused["deploymentId"], refused["status"]) == ("one", "REJECTED")
    assert refused["message"].splitlines() == [
        f"configuration of {NAME}: bus.port: expected a number (got true)",
        f"configuration of {NAME}: topic_bridge.concurrency: expected a whole number (got 10.5)",
    ]
    assert (taken["deploymentId"], taken["status"]) == ("two", "ACCEPTED")
    assert bridge.process.poll() is None  # to be asked changes nothing


@pytest.mark.parametrize("core", [pytest.param(LITE, id="lite")], indirect=True)
def test_where_nobody_asks_before_it_says_so(core: IpcServer, start: Callable[..., Bridge]) -> None:
    bridge = start()
    bridge.says("this nucleus does not ask before a deployment")
    assert core.ask_validity(NAME, {}, "one") == 0


def test_a_companion_has_the_configuration_and_leaves_the_word_to_the_components_own_process(
    core: IpcServer, start: Callable[..., Bridge], inference: Callable[[], None]
) -> None:
    bridge = start(**{COMPANION_VARIABLE: "yes"})
    inference()
    bridge.answers("/readyz", 200)
    core.core.merge(NAME, ("log",), {"level": "debug"})
    bridge.says("the new configuration is in force")
    assert core.ask_validity(NAME, {}, "one") == 0
    own = start()
    own.says("told the nucleus that the component runs")
    assert states(core) == ["RUNNING"]
    assert "told the nucleus" not in bridge.log


def test_with_its_connection_it_ends(core: IpcServer, start: Callable[..., Bridge]) -> None:
    bridge = start()
    bridge.answers("/livez", 200)
    core.drop(NAME)
    assert bridge.exit_status() == 1
    assert "the connection to the Greengrass nucleus ended" in bridge.log


def test_an_old_token_is_refused_with_what_to_do(start: Callable[..., Bridge]) -> None:
    bridge = start(**{TOKEN_VARIABLE: "of-yesterday"})
    assert bridge.exit_status() == 1
    assert "refuses the token" in bridge.log.splitlines()[-1]


def test_a_process_that_greengrass_did_not_start_asks_it_nothing(
    core: IpcServer, broker: Broker, tmp_path: Path
) -> None:
    core.core.merge(NAME, ("topic_bridge",), {"concurrency": "ten"})
    port = free_port()
    ours = {"LINESIDE_BUS__PORT": str(broker.port), "LINESIDE_TOPIC_BRIDGE__HTTP__PORT": str(port)}
    bridge = Bridge(tmp_path, ours, port)
    try:
        bridge.answers("/livez", 200)
        assert core.connected == []
    finally:
        bridge.end()


def test_a_state_can_be_told_for_a_component_that_cannot(core: IpcServer) -> None:
    def tell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lineside.greengrass.state", *words]
        ours = {**os.environ, **environment}
        return subprocess.run(command, env=ours, capture_output=True, text=True, timeout=HANG_S, check=False)

    ours = {**core.environment(NAME), COMPONENT_VARIABLE: NAME}
    assert tell("RUNNING", **ours).returncode == 0
    assert states(core) == ["RUNNING"]
    assert tell("ERRORED", **ours).returncode == 2
    nobody = tell("RUNNING")
    assert nobody.returncode == 1
    assert SOCKET_VARIABLE in nobody.stderr
    assert states(core) == ["RUNNING"]
