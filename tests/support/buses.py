"""Every transport of the bus, behind one face: what a suite over all of them needs of each."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from lineside.bus import Bus, Promises, Subscription
from lineside.bus.ipc import IpcBus
from lineside.bus.memory import MemoryBroker, MemoryBus
from lineside.bus.mqtt import MqttBus
from lineside.connections import Connection
from lineside.greengrass.client import Client
from lineside.settings import BusSettings
from lineside_bench.greengrass.ipc_server import CLASSIC, LITE, IpcServer
from tests.support.greengrass import core_device, identity
from tests.support.mqtt_broker import Broker, running_broker
from tests.support.waiting import HANG_S, until

IPC_COMPONENTS = ("com.lineside.Giver", "com.lineside.Taker")


class Transport(Protocol):
    """One transport with what is behind it; `giver` and `taker` are two services."""

    promises: Promises
    max_backlog: int

    def bus(self, name: str) -> tuple[Bus, Connection]:
        """Make the bus of a service, with its connection."""

    def freeze(self) -> None:
        """Have nothing taken any more, as where the peer hangs."""

    def thaw(self) -> None:
        """Have all taken again."""


class OnMemory:
    """The bus of one process."""

    promises = MemoryBus.promises
    max_backlog = 3

    def __init__(self) -> None:
        self._broker = MemoryBroker()

    def bus(self, name: str) -> tuple[Bus, Connection]:
        link = Connection(name, "memory")
        link.online()
        return MemoryBus(self._broker, max_backlog=self.max_backlog), link

    def freeze(self) -> None:
        self._broker.online = False

    def thaw(self) -> None:
        self._broker.online = True


class OnMqtt:
    """A real broker."""

    max_backlog = 3

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._settings = broker.settings.model_copy(update={"max_backlog": self.max_backlog, "keepalive_s": 60})
        self.promises = MqttBus(self._settings, client="x", connection=Connection("x", "")).promises

    def bus(self, name: str) -> tuple[Bus, Connection]:
        link = Connection(name, "mqtt", first_s=0.05, longest_s=0.2)
        return MqttBus(self._settings, client=name, connection=link), link

    def freeze(self) -> None:
        self._broker.pause()

    def thaw(self) -> None:
        self._broker.resume()


class OnIpc:
    """The IPC of a core device; each service is a component."""

    promises = IpcBus.promises
    max_backlog = 3

    def __init__(self, server: IpcServer) -> None:
        self._server = server
        self._clients: dict[str, Client] = {}

    def bus(self, name: str) -> tuple[Bus, Connection]:
        component = f"com.lineside.{name.capitalize()}"
        client = self._clients.setdefault(name, Client(identity(self._server, component)))
        link = Connection(name, "ipc", first_s=0.05, longest_s=0.2)
        settings = BusSettings(transport="ipc", max_backlog=self.max_backlog)
        return IpcBus(settings, ipc=client, name=name, connection=link, answer_s=HANG_S), link

    def freeze(self) -> None:
        self._server.stall()

    def thaw(self) -> None:
        self._server.resume()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def _mqtt(kind: str, folder: Path) -> Iterator[Transport]:
    for broker in running_broker(kind, folder):
        yield OnMqtt(broker)


def _ipc(manner: str) -> Iterator[Transport]:
    with (
        core_device({"classic": CLASSIC, "lite": LITE}[manner], *IPC_COMPONENTS) as server,
        contextlib.closing(OnIpc(server)) as transport,
    ):
        yield transport


def transports(kind: str, folder: Path) -> Iterator[Transport]:
    """Yield a transport that runs: memory, mosquitto, amqtt, classic or lite."""
    if kind == "memory":
        yield OnMemory()
    elif kind in {"classic", "lite"}:
        yield from _ipc(kind)
    else:
        yield from _mqtt(kind, folder)


@asynccontextmanager
async def entered(transport: Transport, name: str, *topics: str) -> AsyncIterator[tuple[Bus, list[Subscription]]]:
    """Enter a service's bus with its subscriptions, and wait until it is online."""
    bus, link = transport.bus(name)
    subscriptions = [bus.subscribe(topic) for topic in topics]
    async with bus:
        await until(lambda: link.is_online, lambda: link.detail)
        yield bus, subscriptions
