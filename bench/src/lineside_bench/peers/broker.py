"""The line's MQTT broker: mosquitto where it is installed, the embedded amqtt otherwise."""

import asyncio
import os
import shutil
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lineside_bench.errors import BenchError

HOST = "127.0.0.1"
PROGRAM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
"""Where packages put mosquitto: not on everybody's PATH."""

PROBE_S = 2.0


class BusKind(StrEnum):
    """What carries the line's messages: this broker, or a Greengrass core whose components the services are."""

    mqtt = "mqtt"
    ipc = "ipc"


class BrokerKind(StrEnum):
    """Which broker to use; auto is mosquitto where it is installed."""

    auto = "auto"
    mosquitto = "mosquitto"
    amqtt = "amqtt"


@dataclass(frozen=True)
class Broker:
    """How to start the broker, and the newest MQTT version that it speaks (`5` or `3.1.1`)."""

    kind: BrokerKind
    argv: tuple[str, ...]
    protocol: str


def find_mosquitto() -> Path | None:
    """Return the mosquitto program, or None where it is not installed."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *PROGRAM_FOLDERS))
    found = shutil.which("mosquitto", path=path)
    return Path(found) if found else None


def prepare(kind: BrokerKind, *, port: int, folder: Path) -> Broker:
    """Write what the broker needs into `folder` and return how to start it; raises BenchError."""
    program = None if kind is BrokerKind.amqtt else find_mosquitto()
    if program is None and kind is BrokerKind.mosquitto:
        raise BenchError(
            "mosquitto is not installed",
            remedy="Install it (Debian, Ubuntu: apt install mosquitto), or use --broker amqtt",
        )
    if program is None:
        return Broker(BrokerKind.amqtt, (sys.executable, "-m", "lineside_bench.peers.amqtt_broker", str(port)), "3.1.1")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "mosquitto.conf"
    config.write_text(mosquitto_config(port, folder), encoding="utf-8")
    return Broker(BrokerKind.mosquitto, (str(program), "-c", str(config)), "5")


def mosquitto_config(port: int, folder: Path) -> str:
    """Return the configuration: loopback only, messages saved every second, bounded queues.

    Mosquitto keeps nothing by default, and saves every 30 minutes where told to keep. Even so a kill loses what came
    since the last save: the line must bear that.
    """
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {folder}/",
        "autosave_interval 1",
        "persistent_client_expiration 1d",
        "max_queued_messages 10000",
        "max_inflight_messages 100",
        # Above the contract's limit, so that the services refuse too large a message by name.
        "max_packet_size 1048576",
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it becomes a user that may not write the folder
    return "\n".join(lines) + "\n"


async def answers(port: int, host: str = HOST) -> str | None:
    """Return None when a broker accepts an MQTT connection, else what is wrong."""
    name = f"probe-{os.getpid()}".encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x0a" + len(name).to_bytes(2, "big") + name
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(bytes((0x10, len(body))) + body)
                answer = await reader.readexactly(4)
                writer.write(b"\xe0\x00")
                await writer.drain()
            finally:
                writer.close()
    except TimeoutError:
        return f"no answer from {host}:{port}"
    except (OSError, asyncio.IncompleteReadError) as error:
        return f"{host}:{port}: {error}"
    return None if answer == b"\x20\x02\x00\x00" else f"{host}:{port} refused the connection: {answer.hex()}"
