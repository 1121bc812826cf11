"""The forwarder's process: it drains the spool, restarts, stops, and its memory is bounded."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from lineside.spool import Entry, Spool
from lineside.spool.settings import MIB
from lineside_bench.processes.process import clean_environment
from tests.support.forwarding import entry, opened
from tests.support.ports import free_port
from tests.support.variables import LONG
from tests.support.waiting import HANG_S, Patience, block_until


class Process:
    """`lineside-forwarder` with settings of its own."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.port = free_port()
        self._settings = folder / "settings.yaml"
        forwarder = {"http": {"port": self.port}, **sections.pop("forwarder", {})}
        self._settings.write_text(yaml.safe_dump({"thing": "box", "forwarder": forwarder, **sections}))
        self._log = folder / "forwarder.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = clean_environment()
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "lineside_forwarder", str(self._settings)]
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        assert self._process is not None
        self._process.send_signal(by)
        try:
            return self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(HANG_S)
            raise

    def wait_end(self) -> int:
        assert self._process is not None
        return self._process.wait(HANG_S)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(HANG_S)

    def get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=HANG_S) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except (urllib.error.URLError, OSError):
            return None

    def until(self, true: Callable[[], object]) -> None:
        """Wait until something is true; fails at once where the process has ended."""

        def is_true() -> object:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            return true()

        block_until(is_true, lambda: self.log, within=HANG_S)

    def rss_mib(self) -> float:
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8")
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    begun: list[Process] = []

    def begin(**sections: Any) -> Process:
        begun.append(Process(tmp_path, spool={"folder": str(tmp_path / "spool")}, **sections))
        begun[-1].start()
        return begun[-1]

    yield begin
    for process in begun:
        process.end()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with opened(tmp_path / "spool") as found:
        yield found


def ids(top: Path) -> list[str]:
    files = sorted(top.rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line)["eventMetadata"]["eventId"] for path in files for line in path.read_bytes().splitlines()]


def test_it_drains_restarts_and_stops(tmp_path: Path, spool: Spool, start: Callable[..., Process]) -> None:
    top = tmp_path / "capture"
    for number in range(40):
        spool.put(entry(f"a-{number:03}", image=b"x" * 5000))
    process = start(edge_manager={"CaptureDataDestination": "Disk", "CaptureDataPushPeriodSeconds": 1})
    process.until(lambda: spool.status().records == 0)
    assert len(ids(top)) == len(set(ids(top))) == 40
    ready = json.loads(process.get("/readyz") or "{}")
    assert ready["ready"]
    assert {link["name"]: link["state"] for link in ready["connections"]} == {"disk": "ONLINE", "spool": "ONLINE"}
    process.until(lambda: 'delivered_records_total{destination="disk"} 40.0' in (process.get("/metrics") or ""))
    sent: list[str] = []
    for kill in range(1, 4):
        patient = Patience()
        while True:  # a busy machine may look so late that all has left: then there is more, until a kill hits
            more = [f"b-{len(sent) + number:04}" for number in range(100)]
            sent += more
            before = len(ids(top))
            for key in more:
                spool.put(entry(key))
            process.until(lambda before=before: len(ids(top)) > before)
            process.stop(signal.SIGKILL)
            left = 40 + len(sent) - len(ids(top))
            process.start()
            if left > 0:
                break
            assert not patient.is_over(), f"nothing was left for kill {kill}"
    process.until(lambda: spool.status().records == 0)
    assert process.stop() == 0, process.log
    assert sorted(ids(top)) == sorted([f"a-{number:03}" for number in range(40)] + sent)
    assert [key for key in ids(top) if key.startswith("b")] == sent


def test_a_backlog_leaves_in_bounded_memory(spool: Spool, start: Callable[..., Process]) -> None:
    """What is in memory is a batch, not the backlog."""
    count, size = (100_000, 4096) if LONG else (2_200, 50_000)
    capture = {"CaptureDataDestination": "Disk", "CaptureDataBatchSize": 20, "CaptureDataBufferSize": 40}
    empty = start(edge_manager=capture)
    empty.until(lambda: json.loads(empty.get("/readyz") or "{}").get("ready"))
    at_rest = empty.rss_mib()
    assert empty.stop() == 0

    def put(number: int) -> None:
        body = b'{"eventMetadata":{"eventId":"%d"},"data":"%s"}' % (number, b"x" * size)
        spool.put(Entry(key=str(number), stream="spindle", folder="line/spindle/2026/11/22/02", body=body))

    with ThreadPoolExecutor(16) as producers:
        for _ in producers.map(put, range(count)):
            pass
    process = start(edge_manager=capture)
    process.until(lambda: spool.status().records == 0)
    assert count * size > 100 * MIB
    assert process.rss_mib() - at_rest < 50


def test_without_a_spool_folder_it_does_not_start(tmp_path: Path) -> None:
    process = Process(tmp_path, edge_manager={"BucketName": "amzn-s3-demo-bucket"})
    process.start()
    assert process.wait_end() == 2
    assert "Set spool.folder" in process.log


def test_without_a_bucket_it_does_not_start(start: Callable[..., Process]) -> None:
    process = start()
    assert process.wait_end() == 2
    assert "edge_manager.BucketName is not set" in process.log


def test_where_edge_managers_folder_cannot_be_written_it_does_not_start(
    tmp_path: Path, start: Callable[..., Process]
) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "capture"):
        process = start(edge_manager={"CaptureDataDestination": "Disk", "CaptureDataDiskPath": str(path)})
        assert process.wait_end() == 2
        assert f"CaptureDataDiskPath: captures cannot be written: destination disk: {path}: " in process.log
        assert "or name another folder" in process.log


def test_a_folder_that_is_missing_is_shown_and_does_not_stop_it(
    tmp_path: Path, spool: Spool, start: Callable[..., Process]
) -> None:
    spool.put(entry("a"))
    top = tmp_path / "mount"
    process = start(
        edge_manager={"CaptureDataDestination": "Disk", "CaptureDataPushPeriodSeconds": 1},
        forwarder={"destinations": [{"kind": "disk", "name": "nas", "path": str(top)}]},
    )
    process.until(lambda: "no-folder" in (process.get("/metrics") or ""))
    ready = json.loads(process.get("/readyz") or "{}")
    assert ready["ready"]
    assert any(link["state"] == "BACKOFF" and "is not there" in link["detail"] for link in ready["connections"])
    assert process.stop() == 0, process.log
    assert spool.find("a") == "waiting"
