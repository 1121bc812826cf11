import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from lineside_bench.errors import BenchError
from lineside_bench.processes.process import Process
from tests.support.waiting import HANG_S, until

WELL = "import signal, sys, time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
WITH_CHILD = (
    "import subprocess, sys; child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print('child', child.pid, 'up', flush=True); child.wait()"
)


def process(folder: Path, code: str, **options: object) -> Process:
    log = folder / "peer.log"

    async def says_up() -> str | None:
        return None if "up\n" in log.read_text() else "the word up"

    return Process("peer", (sys.executable, "-c", code), env=dict(os.environ), log=log, ready=says_up, **options)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def test_it_starts_is_ready_and_stops(tmp_path: Path) -> None:
    peer = process(tmp_path, WELL)
    await peer.start()
    pid = peer.pid
    assert pid is not None
    assert is_alive(pid)
    await peer.stop()
    assert peer.pid is None
    assert not is_alive(pid)
    assert peer.restarts == 0


async def test_one_that_ends_before_it_is_ready_is_named_with_its_last_words(tmp_path: Path) -> None:
    peer = process(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(BenchError, match=r"(?s)peer ended with exit status 1.*the port is taken"):
        await peer.start()


async def test_one_that_is_never_ready_is_stopped_after_the_bound(tmp_path: Path) -> None:
    peer = process(tmp_path, "import time; print('nearly', flush=True); time.sleep(600)", ready_s=0.5)
    with pytest.raises(BenchError, match=r"(?s)not ready within 0.5 s: the word up.*nearly"):
        await peer.start()
    assert peer.pid is None


async def test_a_missing_program_is_named(tmp_path: Path) -> None:
    log = tmp_path / "peer.log"

    async def never() -> str:
        return "all"

    peer = Process("peer", ("/nowhere/program",), env={}, log=log, ready=never)
    with pytest.raises(BenchError, match="/nowhere/program: cannot be started"):
        await peer.start()


async def test_killed_it_comes_back_by_itself_and_is_counted(tmp_path: Path) -> None:
    peer = process(tmp_path, WELL)
    await peer.start()
    try:
        first = peer.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: peer.pid not in (None, first))
        assert peer.restarts == 1
        assert peer.exit_codes == [-signal.SIGKILL]
        await peer.until_ready(HANG_S)
    finally:
        await peer.stop()
    assert "by SIGKILL; starting again" in peer.log.read_text()


async def test_one_deaf_to_sigterm_is_killed_within_the_bound(tmp_path: Path) -> None:
    peer = process(tmp_path, DEAF, stop_s=0.3)
    await peer.start()
    pid = peer.pid
    await peer.stop()
    assert pid is not None
    assert not is_alive(pid)


async def test_what_it_leaves_behind_ends_before_the_clean_up(tmp_path: Path) -> None:
    seen: list[bool] = []
    children: list[int] = []
    peer = process(tmp_path, WITH_CHILD, after_exit=lambda: seen.append(is_alive(children[0])))
    await peer.start()
    children.append(int(peer.log.read_text().split()[1]))
    assert is_alive(children[0])
    assert peer.pid is not None
    os.kill(peer.pid, signal.SIGKILL)
    await until(lambda: bool(seen))
    await peer.stop()
    assert not any(seen)


RUNNER = """
    import asyncio, os, sys
    from pathlib import Path
    from lineside_bench.processes.process import Process

    async def main():
        async def ready():
            return None
        peer = Process("peer", (sys.executable, "-c", "import time; time.sleep(600)"), env=dict(os.environ),
                       log=Path(sys.argv[1]), ready=ready)
        await peer.start()
        print(peer.pid, flush=True)
        await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_it_dies_with_a_bench_that_is_killed(tmp_path: Path) -> None:
    runner = subprocess.Popen(  # noqa: ASYNC220 - a bench of its own, to be killed
        [sys.executable, "-c", textwrap.dedent(RUNNER), str(tmp_path / "peer.log")], stdout=subprocess.PIPE, text=True
    )
    with runner:
        assert runner.stdout is not None
        pid = int(runner.stdout.readline())
        assert is_alive(pid)
        runner.kill()
    await until(lambda: not is_alive(pid))
