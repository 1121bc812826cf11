"""A real MQTT broker for each test, of every kind that is installed."""

import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside.settings import BusSettings
from tests.support.waiting import HANG_S


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


class Broker:
    """A broker process that can be killed and started again on the same port and, where it has one, store."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.folder = folder
        self.settings = BusSettings(port=self.port, keepalive_s=2)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.kind == "mosquitto":
            assert MOSQUITTO
            config = self.folder / "mosquitto.conf"
            config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
                f"persistence_location {self.folder}/\nautosave_interval 1\nautosave_on_changes true\nuser root\n"
            )
            argv = [MOSQUITTO, "-c", str(config)]
        else:
            argv = [sys.executable, "-m", "lineside_bench.peers.amqtt_broker", str(self.port)]
        self._process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(HANG_S)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(HANG_S)


MOSQUITTO_HERE = pytest.param(
    "mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed on this machine")
)


def running(kind: str, folder: Path) -> Iterator[Broker]:
    broker = Broker(kind, folder)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(params=[MOSQUITTO_HERE, "amqtt"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """Either broker of the bench."""
    yield from running(request.param, tmp_path)


@pytest.fixture(params=[MOSQUITTO_HERE])
def keeping_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker that keeps what was delivered and not acknowledged; amqtt 0.12 forgets it at a disconnect."""
    yield from running(request.param, tmp_path)
