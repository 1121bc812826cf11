"""A core device's IPC for tests, and components that may do what they are told they may."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineside.greengrass.client import Client
from lineside.greengrass.component import Component, must_be_component
from lineside.greengrass.services import MQTT_PROXY, PUBSUB, SHADOWS
from lineside.settings import COMPONENT_VARIABLE
from lineside_bench.greengrass.ipc_server import Core, IpcServer, Manner, running

COMPONENT = "com.lineside.Test"


def access_control(component: str = COMPONENT, topics: tuple[str, ...] = ("*",)) -> dict[str, object]:
    """Return policies that allow everything of ours on these topics."""
    return {
        service: {f"{component}:{service}:1": {"operations": ["*"], "resources": list(topics)}}
        for service in (PUBSUB, MQTT_PROXY, SHADOWS)
    }


@contextmanager
def core_device(manner: Manner, *components: str) -> Iterator[IpcServer]:
    """Run a core device with components that may use every topic; its socket's path is short enough anywhere."""
    core = Core(manner=manner)
    for name in components or (COMPONENT,):
        core.add(name, {"accessControl": access_control(name)})
    with tempfile.TemporaryDirectory(prefix="gg-") as folder, running(Path(folder) / "ipc.socket", core) as server:
        yield server


def identity(server: IpcServer, name: str = COMPONENT) -> Component:
    """Return who a component's process is."""
    return must_be_component("a test", {**server.environment(name), COMPONENT_VARIABLE: name})


@contextmanager
def client_of(server: IpcServer, name: str = COMPONENT) -> Iterator[Client]:
    """Connect as a component."""
    client = Client(identity(server, name))
    client.connect()
    try:
        yield client
    finally:
        client.close()
