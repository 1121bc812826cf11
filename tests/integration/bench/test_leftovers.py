"""What a bench leaves behind when it is killed, and what it keeps: real processes, real files."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import is_running
from tests.support.waiting import HANG_S, block_until

PROGRAM = """
import os, sys, time
from pathlib import Path
from lineside_bench.processes.leftovers import Leftovers

folder = Path(sys.argv[1])
with Leftovers() as leftovers:
    for name in ("work", "kept", "region*", "state.json"):
        leftovers.add(folder / name)
    leftovers.keep(folder / "kept")
    forked = os.fork()  # holds the pipe, as a pool of processes does
    if not forked:
        time.sleep(3600)
    print(forked, leftovers._process.pid, flush=True)
    sys.stdin.readline()
    os.kill(forked, 9)
    os.waitpid(forked, 0)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("work/deep", "kept", "other"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("work/deep/log", "kept/log", "region-1", "region-2", "other/region-3"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def bench(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    (folder / "state.json").write_text(json.dumps({"ready": True, "pid": process.pid}))
    with process:  # closes the pipes
        yield process
        process.kill()


def pids(bench: subprocess.Popen[str]) -> tuple[int, int]:
    """Return the ids of the forked child and of who sweeps, once the list is handed over."""
    assert bench.stdout is not None
    forked, sweeper = map(int, bench.stdout.readline().split())
    return forked, sweeper


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_goes_with_a_killed_bench_goes_and_the_rest_stays(bench: subprocess.Popen[str], folder: Path) -> None:
    forked, sweeper = pids(bench)
    try:
        os.kill(bench.pid, signal.SIGKILL)
        block_until(lambda: left(folder) == ["kept/log", "other/region-3"])
        assert not (folder / "work").exists()
        block_until(lambda: not is_running(sweeper))
    finally:
        os.kill(forked, signal.SIGKILL)


def test_another_benchs_state_file_stays(bench: subprocess.Popen[str], folder: Path) -> None:
    forked, sweeper = pids(bench)
    try:
        (folder / "state.json").write_text(json.dumps({"ready": True, "pid": os.getpid()}))
        os.kill(bench.pid, signal.SIGKILL)
        block_until(lambda: not is_running(sweeper))
        assert "state.json" in left(folder)
        assert not (folder / "work").exists()
    finally:
        os.kill(forked, signal.SIGKILL)


def test_an_end_in_order_leaves_nobody_behind(bench: subprocess.Popen[str], folder: Path) -> None:
    _forked, sweeper = pids(bench)
    assert bench.stdin is not None
    bench.stdin.close()
    bench.wait(HANG_S)
    assert not is_running(sweeper)
    assert left(folder) == ["kept/log", "other/region-3"]
