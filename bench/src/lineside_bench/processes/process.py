"""A peer of the line as a supervised process: started, waited for, restarted when it ends, stopped, never orphaned."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from lineside.backoff import Backoff
from lineside_bench.errors import BenchError

Ready = Callable[[], Awaitable[str | None]]
"""Says None when the process is ready, else what it is still waiting for."""

DIE_WITH_PARENT = Path(__file__).with_name("die_with_parent.py")
POLL_S = 0.05
_BACKOFF = Backoff(first_s=0.25, longest_s=5.0)
SETTLED_S = 10.0
"""A process that lived this long starts again with the shortest wait."""
GROUP_GONE_S = 3.0
LAST_LINES = 15


class Process:
    """One supervised process, restarted with a short back-off as Docker or Greengrass would.

    It leads a process group of its own, so that Ctrl-C reaches the bench alone and the bench decides the order of
    stopping, and it dies with the bench even at a `kill -9`. Its output is appended to `log`. `env` is its whole
    environment. `after_exit` runs once it and its children are gone. `nice` is its priority over others,
    from -20 to 19, where we may set it.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        log: Path,
        ready: Ready,
        ready_s: float = 60.0,
        stop_s: float = 12.0,
        after_exit: Callable[[], object] | None = None,
        nice: int = 0,
    ) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.env = dict(env)
        self.log = log
        self.restarts = 0
        self.exit_codes: list[int] = []
        self._ready = ready
        self._ready_s = ready_s
        self._stop_s = stop_s
        self._after_exit = after_exit
        self._nice = nice
        self._running: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._spawned = 0.0

    @property
    def pid(self) -> int | None:
        """The process's id now; None while it is not running."""
        return self._running.pid if self._running and self._running.returncode is None else None

    async def start(self) -> None:
        """Start it and return when it is ready.

        Raises BenchError, with the last lines of its log, when it ends or is not ready within `ready_s`.
        """
        try:
            await self._spawn()
            await self._until_ready(self._ready_s, restarting=False)
        except BaseException:
            await self.stop()
            raise
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    async def until_ready(self, within_s: float) -> None:
        """Return when it is ready (again), over restarts; raises BenchError after `within_s` seconds."""
        await self._until_ready(within_s, restarting=True)

    async def stop(self) -> None:
        """Stop it for good: SIGTERM, after `stop_s` seconds SIGKILL to its whole group."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        running = self._running
        if running is None:
            return
        if running.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                running.terminate()
            try:
                await asyncio.wait_for(running.wait(), self._stop_s)
            except TimeoutError:
                self._note(f"did not stop within {self._stop_s:g} s of SIGTERM: killed")
                _kill_group(running.pid)
                await running.wait()
        await self._clean_up(running.pid)
        self._running = None

    def last_lines(self, count: int = LAST_LINES) -> str:
        """Return the end of its log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 8192))
                text = log.read().decode(errors="backslashreplace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-count:])

    async def _spawn(self) -> None:
        prefix = (sys.executable, "-I", "-S", str(DIE_WITH_PARENT), str(os.getpid()))
        with self.log.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                *prefix,
                *self.argv,
                env=self.env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        _prioritise(self._running.pid, self._nice)
        self._spawned = time.monotonic()

    async def _until_ready(self, within_s: float, *, restarting: bool) -> None:
        waits_for: str | None = "its start"
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            code = self._running.returncode if self._running else None
            if code is not None and not restarting:
                raise self._failure(f"{self.name} ended {_ending(code)} before it was ready")
            if self.pid is not None:
                waits_for = await self._ready()
                if waits_for is None:
                    return
            await asyncio.sleep(POLL_S)
        raise self._failure(f"{self.name} was not ready within {within_s:g} s: {waits_for}")

    async def _keep(self) -> None:
        failures = 0
        while self._running is not None:
            pid = self._running.pid
            code = await self._running.wait()
            self.exit_codes.append(code)
            if time.monotonic() - self._spawned >= SETTLED_S:
                failures = 0
            wait_s = _BACKOFF.wait_s(failures)
            self._note(f"ended {_ending(code)}; starting again in {wait_s:g} s")
            await self._clean_up(pid)
            await asyncio.sleep(wait_s)
            failures += 1
            self.restarts += 1
            await self._spawn()

    async def _clean_up(self, pid: int) -> None:
        """Kill what is left of the process's group, then call `after_exit`."""
        end = time.monotonic() + GROUP_GONE_S
        while _kill_group(pid) and time.monotonic() < end:  # noqa: ASYNC110 - the kernel sends no event
            await asyncio.sleep(POLL_S)
        if self._after_exit:
            self._after_exit()

    def _failure(self, what: str) -> BenchError:
        lines = self.last_lines()
        shown = f"; the end of its log:\n{lines}\n" if lines else "; it logged nothing"
        return BenchError(what + shown, remedy=f"Its whole log is {self.log}")

    def _note(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"-- bench: {self.name} {text}\n")


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment without LINESIDE_ variables: the bench's settings file says it all."""
    return {name: value for name, value in environ.items() if not name.upper().startswith("LINESIDE_")}


def _prioritise(pid: int, nice: int) -> None:
    """Set the priority of a process that leads a session of its own; without the right to it stays as it is.

    Linux may share out the processors among sessions first, each with a priority of its own, see sched(7).
    """
    if not nice:
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")


def _kill_group(group: int) -> bool:
    """Kill what is left of a process group; return whether there was anything."""
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _ending(code: int) -> str:
    if code < 0:
        return f"by {signal.Signals(-code).name}"
    return f"with exit status {code}"
