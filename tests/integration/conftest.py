"""Real peers: the CPU Triton of the bench with this repository's models."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineside_bench.peers.triton import clean_shared_memory, launch
from tests.support.waiting import HANG_S

ROOT = Path(__file__).parents[2]


class TritonServer:
    """One Triton that can be killed and started again on the same ports."""

    def __init__(self, work: Path, repository: Path = ROOT / "models") -> None:
        self.work = work
        self.repository = repository
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None
        self._prefixes: list[str] = []

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        venv = Path(os.environ.get("LINESIDE_TRITON_VENV", ROOT / ".venv-triton"))
        start = launch(
            venv,
            repository=self.repository,
            work=self.work,
            http_port=self.http_port,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
        )
        self._prefixes.append(start.shm_prefix)
        with (self.work / "triton.log").open("ab") as log:
            self._process = subprocess.Popen(start.argv, env=start.env, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Wait until the server and its models are ready; fails with the end of its log."""
        until = time.monotonic() + HANG_S
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.http}/v2/health/ready", timeout=1) as answer:  # noqa: S310 - our own
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                pass
            time.sleep(0.05)
        pytest.fail("Triton is not ready:\n" + (self.work / "triton.log").read_text(errors="replace")[-3000:])

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)
        for prefix in self._prefixes:
            clean_shared_memory(prefix)

    def _end(self, by: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(by)
        try:
            self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(HANG_S)
        self._process = None


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on now, each another."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


@pytest.fixture(scope="session")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A running Triton with all models; do not kill this one, take `own_triton`."""
    server = TritonServer(tmp_path_factory.mktemp("triton"))
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


@pytest.fixture
def own_triton(tmp_path: Path) -> Iterator[TritonServer]:
    """A Triton of the test's own, not started yet."""
    work = tmp_path / "triton"
    work.mkdir()
    server = TritonServer(work)
    try:
        yield server
    finally:
        server.stop()
