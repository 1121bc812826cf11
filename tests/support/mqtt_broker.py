"""An MQTT broker as a process: mosquitto, or amqtt where that is not installed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lineside.settings import BusSettings
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

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

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(HANG_S)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(HANG_S)


def running_broker(kind: str, folder: Path) -> Iterator[Broker]:
    """Yield a running broker; `kind`: mosquitto or amqtt."""
    broker = Broker(kind, folder)
    broker.start()
    yield broker
    broker.stop()
