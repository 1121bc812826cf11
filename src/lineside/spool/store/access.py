"""The use of a spool's files by the threads of a process, which is given up and taken again when they must be mended.

Mending needs the folder for itself. Whoever meets damage asks for it by a file; every process that sees this closes
its files before its next step and lets go of the folder; the first that then has it alone mends it.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lineside.spool.errors import SpoolUnusable
from lineside.spool.repair import quarantine
from lineside.spool.store.locks import Users

_WAIT_S = 2.0
_STEP_S = 0.02


class _Inside(threading.local):
    """How deep a thread is in uses of the files."""

    depth = 0


class Access:
    """Who of this process is using the files, and the right to."""

    def __init__(self, folder: Path, locks: Path, *, let_go: Callable[[], None], mend: Callable[[], None]) -> None:
        """Make it without the right; `let_go` closes the files, `mend` is called where nobody else has the folder."""
        self._folder = folder
        self._mark = str(folder / quarantine.MARK)
        self._locks = locks
        self._let_go = let_go
        self._mend = mend
        self._turns = threading.Condition()
        self._active = 0
        self._inside = _Inside()
        self._users: Users | None = None

    def open(self) -> bool:
        """Take the right to use the files; returns whether nobody else had it. Raises OSError, SpoolUnusable."""
        with self._turns:
            return self._take(wait_s=_WAIT_S)

    def using(self) -> "Access":
        """Use the files for a `with`, after mending where that is asked for; nested uses are one.

        Raises SpoolUnusable while others have the files open that must be mended.
        """
        return self

    def __enter__(self) -> None:
        inside = self._inside
        if inside.depth == 0:
            self._enter()
        inside.depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        inside = self._inside
        inside.depth -= 1
        if inside.depth == 0:
            self._leave()

    def close(self) -> None:
        """Give up the right."""
        with self._turns:
            if self._users is not None:
                self._users.close()
                self._users = None

    def _enter(self) -> None:
        with self._turns:
            if os.access(self._mark, os.F_OK) or self._users is None:  # at every use: the cheapest way to ask
                while self._active:
                    self._turns.wait()
                if quarantine.is_asked(self._folder):
                    self._let_go()
                    self.close()
                if self._users is None:
                    self._take(wait_s=_WAIT_S)
            self._active += 1

    def _leave(self) -> None:
        with self._turns:
            self._active -= 1
            if not self._active:
                self._turns.notify_all()

    def _take(self, wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while True:
            users = Users(self._locks)
            try:
                if users.first:
                    self._mend()
                if users.first or not quarantine.is_asked(self._folder):
                    users.share()
                    self._users = users
                    return users.first
            finally:
                if self._users is None:
                    users.close()
            if time.monotonic() > until:
                raise SpoolUnusable(
                    f"{self._folder} is damaged, and another service still has it open",
                    remedy="It is mended as soon as that service uses it next; restart that service if it hangs",
                )
            time.sleep(_STEP_S)
