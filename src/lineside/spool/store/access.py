"""The use of a spool's files by the threads of a process, released and taken again when the files need repair.

Repair needs the folder's lock alone. Whoever meets damage requests it by a file; every process that sees this file
closes the databases before its next step and releases the folder; the first that then holds it alone repairs it.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lineside.spool.errors import SpoolUnusable
from lineside.spool.store import quarantine
from lineside.spool.store.locks import FolderLock

_WAIT_S = 2.0
_STEP_S = 0.02


class _Inside(threading.local):
    """How many nested `with` of one thread use the files."""

    depth = 0


class Access:
    """Counts the threads that use the files, and holds the folder's lock for the process."""

    def __init__(self, folder: Path, locks: Path, *, let_go: Callable[[], None], repair: Callable[[], None]) -> None:
        """Make it without the lock; `let_go` closes the files, `repair` is called where nobody else has the folder."""
        self._folder = folder
        self._mark = str(folder / quarantine.MARK)
        self._locks = locks
        self._let_go = let_go
        self._repair = repair
        self._condition = threading.Condition()
        self._active = 0
        self._inside = _Inside()
        self._lock: FolderLock | None = None

    def open(self) -> bool:
        """Take the folder's lock; returns whether no other process had it. Raises OSError, SpoolUnusable."""
        with self._condition:
            return self._take(wait_s=_WAIT_S)

    def using(self) -> "Access":
        """Use the files for a `with`, after a repair where one is requested; nested uses are one.

        Raises SpoolUnusable while another process has files open that need repair.
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
        """Release the lock."""
        with self._condition:
            if self._lock is not None:
                self._lock.close()
                self._lock = None

    def _enter(self) -> None:
        with self._condition:
            if os.access(self._mark, os.F_OK) or self._lock is None:  # at every use: the cheapest way to ask
                while self._active:
                    self._condition.wait()
                if quarantine.is_repair_requested(self._folder):
                    self._let_go()
                    self.close()
                if self._lock is None:
                    self._take(wait_s=_WAIT_S)
            self._active += 1

    def _leave(self) -> None:
        with self._condition:
            self._active -= 1
            if not self._active:
                self._condition.notify_all()

    def _take(self, wait_s: float) -> bool:
        until = time.monotonic() + wait_s
        while True:
            lock = FolderLock(self._locks)
            try:
                if lock.is_first:
                    self._repair()
                if lock.is_first or not quarantine.is_repair_requested(self._folder):
                    lock.share()
                    self._lock = lock
                    return lock.is_first
            finally:
                if self._lock is None:
                    lock.close()
            if time.monotonic() > until:
                raise SpoolUnusable(
                    f"{self._folder} is damaged, and another service still has it open",
                    remedy="It is repaired as soon as that service uses it next; restart that service if it hangs",
                )
            time.sleep(_STEP_S)
