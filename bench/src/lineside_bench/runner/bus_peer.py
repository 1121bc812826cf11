"""What carries the line's messages: its process, what a service is started with, and who watches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lineside.greengrass.client import sdk_modules
from lineside.greengrass.errors import SdkMissing
from lineside_bench import config
from lineside_bench.errors import BenchError
from lineside_bench.greengrass import line_core
from lineside_bench.peers import broker
from lineside_bench.peers.broker import BrokerKind
from lineside_bench.processes.ports import HOST
from lineside_bench.processes.process import Ready
from lineside_bench.runner.ipc_observer import IpcObserver
from lineside_bench.runner.mqtt_observer import MqttObserver
from lineside_bench.runner.observer import Observer


@dataclass(frozen=True)
class BusPeer:
    """One bus."""

    name: str
    """Of its process."""
    argv: tuple[str, ...]
    ready: Ready
    endpoint: tuple[str, str]
    """Name and address, for people and the state file."""
    observer: Callable[[], Observer]
    arguments: tuple[str, ...] = ()
    """What each service's process is started with."""
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What a service's process has in its environment."""


def over_mqtt(kind: BrokerKind, settings: Mapping[str, Any], *, port: int, work: Path) -> BusPeer:
    """Return a broker; the services read one settings file. Raises BenchError."""
    chosen = broker.prepare(kind, port=port, folder=work / "broker")
    file = work / "settings.yaml"
    config.write_settings(file, settings)
    return BusPeer(
        name="broker",
        argv=chosen.argv,
        ready=lambda: broker.answers(port),
        endpoint=("mqtt", f"mqtt://{HOST}:{port}"),
        observer=lambda: MqttObserver(port=port, protocol=chosen.protocol),
        arguments=(str(file),),
    )


def over_ipc(settings: Mapping[str, Any], *, root: Path, work: Path) -> BusPeer:
    """Return a Greengrass core; the services are its components, whose settings it has. Raises BenchError."""
    try:
        sdk_modules()
    except SdkMissing as error:
        raise BenchError(error.what, remedy="Run `make setup` in the repository") from None
    core = line_core.prepare(settings, recipes=root / "recipes", folder=work / "greengrass")
    return BusPeer(
        name="nucleus",
        argv=core.argv,
        ready=lambda: line_core.answers(core.socket),
        endpoint=("ipc", f"unix:{core.socket}"),
        observer=lambda: IpcObserver(core.observer),
        environments=core.environments,
    )
