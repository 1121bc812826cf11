"""A service forked from one that has imported it is the process that `python -m` starts."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lineside_bench.processes.process import clean_environment
from tests.support import warm_start
from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

MODULE = "lineside_exporter"


def said(tmp_path: Path, *arguments: object, env: dict[str, str]) -> tuple[int, str, str]:
    """Return the exit status of one that ends, and what it wrote."""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = warm_start.start(MODULE, *arguments, env=env, stdout=out, stderr=err)
    return process.wait(HANG_S), (tmp_path / "out").read_text(), (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (("--version",), {}),
        (("--help", "me"), {}),
        (("nowhere.yaml",), {}),
        ((), {"LINESIDE_CONFIG": "/nowhere.yaml"}),
        ((), {"LINESIDE_EXPORTER__HTTP__PORT": "no port"}),
    ],
)
def test_it_says_and_ends_as_the_real_start_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], more: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    env = clean_environment() | more
    command = [sys.executable, "-m", MODULE, *arguments]
    real = subprocess.run(command, env=env, capture_output=True, text=True, timeout=HANG_S, check=False)
    assert real.stdout + real.stderr
    assert said(tmp_path, *arguments, env=env) == (real.returncode, real.stdout, real.stderr)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)]
)
def test_signals_reach_it_alone(tmp_path: Path, number: signal.Signals, status: int) -> None:
    running = []
    for name in ("one", "other"):
        (tmp_path / f"{name}.yaml").write_text(f"exporter: {{http: {{port: {free_port()}}}}}")
        with (tmp_path / f"{name}.log").open("wb") as log:
            running.append(warm_start.start(MODULE, tmp_path / f"{name}.yaml", env=clean_environment(), stderr=log))
        block_until(lambda log=tmp_path / f"{name}.log": "startup complete" in log.read_text())
    one, other = running
    try:
        assert (one.poll(), other.poll()) == (None, None)
        with pytest.raises(subprocess.TimeoutExpired):
            one.wait(0)
        one.send_signal(number)
        assert one.wait(HANG_S) == one.returncode == status
        assert other.poll() is None
        one.kill()  # of one that has ended nothing is asked
        assert not Path(f"/proc/{one.pid}").exists()
    finally:
        for process in running:
            process.kill()
            process.wait(HANG_S)


def test_one_that_nobody_imports_is_named(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log, pytest.raises(AssertionError, match="lineside_nothing"):
        warm_start.start("lineside_nothing", env=clean_environment(), stderr=log)
