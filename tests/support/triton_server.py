"""The CPU Triton of the bench, with this repository's models or others."""

import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from lineside_bench.checkout import TRITON_ENVIRONMENT
from lineside_bench.peers.triton import assemble, clean_shared_memory, launch
from tests.support.paths import ROOT
from tests.support.ports import free_ports
from tests.support.waiting import HANG_S, block_until


class TritonServer:
    """One Triton that can be killed and started again on the same ports."""

    def __init__(
        self,
        work: Path,
        repository: Path = ROOT / "models",
        others: Sequence[Path] = (),
        *,
        with_tensorrt: bool = False,
    ) -> None:
        """Make it; `with_tensorrt`: with a stand-in for the TensorRT backend, which runs ONNX files as plans."""
        self.with_tensorrt = with_tensorrt
        self.work = work
        self.repository = repository
        self.others = others
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
        venv = ROOT / TRITON_ENVIRONMENT
        backends = None
        if self.with_tensorrt:
            backends = assemble(venv, self.work / "backends")
            shutil.copytree(backends / "onnxruntime", backends / "tensorrt")
        start = launch(
            venv,
            repository=self.repository,
            others=self.others,
            work=self.work,
            backends=backends,
            http_port=self.http_port,
            grpc_port=self.grpc_port,
            metrics_port=self.metrics_port,
        )
        self._prefixes.append(start.shm_prefix)
        with (self.work / "triton.log").open("ab") as log:
            self._process = subprocess.Popen(start.argv, env=start.env, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Wait until the server and its models are ready; fails with the end of its log."""
        block_until(lambda: self._is_ready() or not self._is_running(), self._log_end, within=HANG_S)
        assert self._is_running(), "Triton has ended:\n" + self._log_end()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.http}/v2/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _log_end(self) -> str:
        return (self.work / "triton.log").read_text(errors="replace")[-3000:]

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


@contextmanager
def running_triton(
    work: Path, repository: Path = ROOT / "models", others: Sequence[Path] = (), *, with_tensorrt: bool = False
) -> Iterator[TritonServer]:
    """Yield a server that is ready; it is stopped at the end."""
    server = TritonServer(work, repository, others, with_tensorrt=with_tensorrt)
    server.start()
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()
