"""Services as processes that are forked from one which has imported them, for tests that do not test their start.

Half of the processor time of a run would go to the same imports, hundreds of times. What a process is started with is
its own as always: arguments, environment, folder, files; `python -m` starts it where the start itself is in question.
"""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from lineside_bench.processes.process import clean_environment
from tests.support.paths import ROOT


class Started:
    """A process of this kind, to be used as subprocess.Popen's."""

    def __init__(self, parent: "_Parent", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._parent = parent
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Return its exit status once it has ended, and -N where signal N ended it."""
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit status; raises TimeoutExpired after so many seconds."""
        if self.returncode is None:
            ended = select.poll()
            ended.register(self._handle, select.POLLIN)
            if not ended.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = self._parent.ask({"ended": self.pid})
            os.close(self._handle)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, to none but this process."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._handle, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    module: str,
    *arguments: object,
    env: Mapping[str, str],
    stdout: IO[Any] | None = None,
    stderr: IO[Any] | None = None,
) -> Started:
    """Start what `python -m module arguments` does, with this whole environment; files not given are this lane's."""
    parent = _parent(module)
    asked = {"arguments": [*map(str, arguments)], "environment": dict(env), "folder": str(Path.cwd())}
    return Started(parent, parent.ask(asked, (0, stdout.fileno() if stdout else 1, stderr.fileno() if stderr else 2)))


class _Parent:
    """One that has imported a module, for as long as this lane of tests runs."""

    def __init__(self, module: str) -> None:
        self._lock = threading.Lock()
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [sys.executable, "-m", "tests.support.warm_parent", module, str(number)]
            self._process = subprocess.Popen(command, env=clean_environment(), cwd=ROOT, pass_fds=[number])
        atexit.register(self._close)

    def ask(self, question: Mapping[str, Any], files: tuple[int, ...] = ()) -> int:
        """Return the answer, a number."""
        answer = b""
        with self._lock, contextlib.suppress(ConnectionError):
            socket.send_fds(self._asking, [json.dumps(question).encode()], files)
            answer = self._asking.recv(64)
        assert answer, f"{self._process.args} ended with exit status {self._process.wait()}"
        return int(answer)

    def _close(self) -> None:
        self._asking.close()
        self._process.wait()


_parent = functools.cache(_Parent)
