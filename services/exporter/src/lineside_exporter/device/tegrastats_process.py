"""tegrastats as a process that is kept running: started again when it ends, cut when it says nothing more."""

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence

from lineside.connections import Connection
from lineside.reaping import reap
from lineside_exporter.device import tegrastats
from lineside_exporter.device.tegrastats import Line

PROGRAM = "tegrastats"
INTERVAL_MS = 1000
SILENT_S = 10.0
"""Silence after which it hangs; it says a line a second."""
FRESH_S = 5.0
"""Age from which a line is no longer true."""
_LONGEST_LINE = 64 * 1024


def find() -> str | None:
    """Return where the program is; None: not here, as in most containers."""
    return shutil.which(PROGRAM)


class TegrastatsProcess:
    """Follows the program's lines; `newest` is the last one while it is true."""

    def __init__(
        self,
        command: Sequence[str],
        connection: Connection,
        *,
        silent_s: float = SILENT_S,
        fresh_s: float = FRESH_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._connection = connection
        self._silent_s = silent_s
        self._fresh_s = fresh_s
        self._monotonic = monotonic
        self._last: tuple[Line, float] | None = None
        self.lines = 0
        """Lines that said something, since the start."""
        self.starts = 0
        """How often the program was started."""

    def newest(self) -> Line | None:
        """Return the newest line, None where it is too old."""
        last = self._last
        return last[0] if last and self._monotonic() - last[1] <= self._fresh_s else None

    async def run(self) -> None:
        """Keep the program running for ever; cancelled, it is ended and waited for."""
        while True:
            self._connection.connecting()
            try:
                problem = await self._follow()
            except TimeoutError:
                problem = f"said nothing for {self._silent_s:g} s and was cut"
            except OSError as error:
                problem = f"cannot be started: {error.strerror or error}"
            except ValueError:
                problem = f"wrote a line of more than {_LONGEST_LINE} bytes and was cut"
            self._last = None
            await asyncio.sleep(self._connection.backoff(problem))

    async def _follow(self) -> str:
        self.starts += 1
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_LONGEST_LINE,
            start_new_session=True,
        )
        try:
            while True:
                # Only a line with figures ends the wait: a process that repeats an error message hangs too.
                async with asyncio.timeout(self._silent_s):
                    line = await self._next(process)
                if line is None:
                    return f"ended with status {await process.wait()}"
                self._last = line, self._monotonic()
                self.lines += 1
                self._connection.online()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with what a script began, which holds the pipe
            await reap(process)

    async def _next(self, process: asyncio.subprocess.Process) -> Line | None:
        """Return the next line that says something; None: there is none."""
        if process.stdout is None:
            return None
        while text := await process.stdout.readline():
            line = tegrastats.parse(text.decode("utf-8", "replace"))
            if not tegrastats.is_empty(line):
                return line
        return None
