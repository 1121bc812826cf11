"""Files and shared memory that must not outlive the bench: a second process removes them even where it is killed."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

SWEEP = Path(__file__).with_name("sweep.py")
END_S = 5.0


class Leftovers:
    """Paths that are removed when the bench ends, by a second process that runs while this is entered."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # In a session of its own: a signal to the bench's process group (Ctrl-C) must not end the clean-up process.
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(SWEEP), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)

    def add(self, path: Path | str) -> None:
        """Remove a path when the bench ends; one that ends in `*` stands for every path with that prefix."""
        self._say(f"+ {path}\n")

    def keep(self, path: Path | str) -> None:
        """Do not remove a path when the bench ends."""
        self._say(f"- {path}\n")

    def _say(self, line: str) -> None:
        if self._process and self._process.stdin:
            with contextlib.suppress(OSError):  # somebody has killed it: then nothing is cleaned up
                self._process.stdin.write(os.fsencode(line))
                self._process.stdin.flush()
