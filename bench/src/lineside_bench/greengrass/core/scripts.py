"""The live edge to the shell: a step's script with its environment and log, and how it is ended."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineside_bench.processes import die_with_parent

GRACE_S = 5.0
"""From SIGTERM to SIGKILL. Source: Exec.java, gracefulShutdownTimeout."""
_POLL_S = 0.05


@dataclass(frozen=True)
class Shell:
    """Where a component's scripts run: its folder, its log, what Greengrass gives it as environment."""

    folder: Path
    log: Path
    environment: Mapping[str, str]


class Process:
    """One script that runs, with all that it started in its session."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wait(self) -> int:
        """Return its exit status, a negative one where a signal ended it."""
        return await self._process.wait()

    async def close(self, grace_s: float = GRACE_S) -> None:
        """End it with everything that it started: SIGTERM, then SIGKILL for what is left after the grace."""
        waiting = asyncio.get_running_loop().time() + grace_s
        self._signal(signal.SIGTERM)
        while self._is_there() and asyncio.get_running_loop().time() < waiting:  # noqa: ASYNC110 - a group has no event
            await asyncio.sleep(_POLL_S)
        self._signal(signal.SIGKILL)
        await self._process.wait()

    def kill(self) -> None:
        """End it at once, without waiting."""
        self._signal(signal.SIGKILL)

    def _is_there(self) -> bool:
        """Return whether anything of its session still runs; what only waits to be reaped by others does not."""
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return any(_runs_in(each, self._process.pid) for each in Path("/proc").glob("[0-9]*/stat"))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _runs_in(stat: Path, group: int) -> bool:
    """Return whether a process, by its file in /proc, is of a group and not ended; its name may hold anything."""
    try:
        state, _parent, of = stat.read_text(errors="replace").rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(of) == group and state not in {"Z", "X"}


async def start(script: str, shell: Shell, environment: Mapping[str, str]) -> Process:
    """Start a script by the shell; what it writes is added to the component's log. Raises OSError.

    It dies with the core, also with one that is killed; what it started itself outlives that, as on a device.
    """
    shell.folder.mkdir(parents=True, exist_ok=True)
    shell.log.parent.mkdir(parents=True, exist_ok=True)
    with shell.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            die_with_parent.__file__,
            str(os.getpid()),
            "/bin/sh",
            "-c",
            script,
            cwd=shell.folder,
            env={**os.environ, **shell.environment, **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Process(process)


def is_skipped(skip_if: str, folder: Path) -> bool:
    """Return whether a step is left out: `onpath NAME`, where the program is there; `exists FILE`, where that is."""
    kind, _space, what = skip_if.partition(" ")
    if kind.lower() == "onpath":
        return shutil.which(what.strip()) is not None
    return kind.lower() == "exists" and (folder / what.strip()).exists()
