"""tegrastats as a real process, and NVML as the real module finds it on this machine."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from lineside.connections import Connection, State
from lineside_exporter.device import nvml
from lineside_exporter.device.tegrastats_process import TegrastatsProcess
from tests.support.waiting import until

LINE = "RAM 613/3964MB GR3D_FREQ 7% CPU@40.5C POM_5V_IN 900/943"


def program(tmp_path: Path, body: str) -> tuple[str, ...]:
    """Return a command that writes down its process id, then does what `body` says; `print` writes at once."""
    script = tmp_path / "tegrastats.py"
    script.write_text(
        "import functools, os, sys, time\nprint = functools.partial(print, flush=True)\n"
        f"open({str(tmp_path / 'pids')!r}, 'a').write(f'{{os.getpid()}}\\n')\nLINE = {LINE!r}\n{body}\n",
        encoding="utf-8",
    )
    return sys.executable, str(script)


def pids(tmp_path: Path) -> list[int]:
    path = tmp_path / "pids"
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def gone(pid: int) -> bool:
    """Return whether a process has ended and was waited for: a zombie is still there."""
    return not psutil.pid_exists(pid)


@asynccontextmanager
async def running(command: tuple[str, ...], **options: float) -> AsyncIterator[tuple[TegrastatsProcess, Connection]]:
    link = Connection("tegrastats", command[0], required=False, first_s=0.01, longest_s=0.05)
    process = TegrastatsProcess(command, link, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(process.run())
    try:
        yield process, link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_lines_are_followed_and_the_end_leaves_no_process(tmp_path: Path) -> None:
    command = program(tmp_path, "print('a banner')\nwhile True: print(LINE); time.sleep(0.02)")

    async with running(command) as (process, link):
        await until(lambda: process.lines > 2)
        line = process.newest()
        assert line is not None
        assert line.gpu is not None
        assert line.gpu.ratio == 0.07
        assert link.state is State.ONLINE
        (pid,) = pids(tmp_path)
        assert not gone(pid)

    assert gone(pid)


async def test_one_that_ends_is_started_again(tmp_path: Path) -> None:
    async with running(program(tmp_path, "print(LINE); sys.exit(3)")) as (process, link):
        await until(lambda: process.starts > 2 and link.state is State.BACKOFF)
        assert link.detail == "ended with status 3"
        assert process.newest() is None
        first = pids(tmp_path)[0]
        assert gone(first)


async def test_one_that_hangs_is_cut(tmp_path: Path) -> None:
    command = program(tmp_path, "print(LINE); time.sleep(600)")

    async with running(command, silent_s=0.5) as (process, link):
        await until(lambda: process.starts > 1)
        assert "said nothing for 0.5 s and was cut" in link.detail
        await until(lambda: any(gone(pid) for pid in pids(tmp_path)))


async def test_one_that_only_complains_hangs_too(tmp_path: Path) -> None:
    command = program(tmp_path, "while True: print('no such device'); time.sleep(0.02)")

    async with running(command, silent_s=0.5) as (process, _link):
        await until(lambda: process.starts > 1)
        assert process.lines == 0


async def test_a_line_without_end_is_cut(tmp_path: Path) -> None:
    async with running(program(tmp_path, "print(LINE * 20_000)")) as (process, link):
        await until(lambda: process.starts > 1)
        assert "more than 65536 bytes" in link.detail


async def test_a_program_that_cannot_be_started_is_said_and_tried_again(tmp_path: Path) -> None:
    target = tmp_path / "tegrastats"
    async with running((str(target),)) as (process, link):
        await until(lambda: process.starts > 1 and link.detail)
        assert link.detail == "cannot be started: No such file or directory"
        source = Path(shutil.which("echo") or "/bin/echo")
        target.write_text(f"#!/bin/sh\nwhile true; do {source} '{LINE}'; sleep 0.05; done\n")
        target.chmod(0o755)
        await until(lambda: process.lines > 0)


async def test_an_old_line_is_no_longer_true(tmp_path: Path) -> None:
    command = program(tmp_path, "print(LINE); time.sleep(600)")

    async with running(command, fresh_s=0.0) as (process, _link):
        await until(lambda: process.lines > 0)
        assert process.newest() is None


def test_the_real_module_says_whether_this_machine_has_nvml() -> None:
    """On a machine without NVIDIA's driver it is absent and says why; with one it is read."""
    why = nvml.absence()

    if Path("/dev/nvidiactl").exists():
        assert why is None
        assert asyncio.run(nvml.NvmlSource().read())
    else:
        assert why in {"there is no NVML library (libnvidia-ml.so.1)", "NVIDIA's driver is not loaded"}
