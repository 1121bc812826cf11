"""Locks between the processes and containers of a box: `flock` on files of the spool's folder.

The kernel lets go of a dead process's locks, so that nothing here needs a clock or a process id. A lock belongs to the
open file: who forks without starting another program shares it with the child.
"""

import fcntl
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

FILE_MODE = 0o640
FOLDER_MODE = 0o750
LOCKS = "locks"
USERS = "users.lock"
_SESSIONS = "????????-*.lock"


def open_lock(path: Path) -> int:
    """Open a lock's file, making it where it is new; raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


class Turn:
    """The right to write one file of the spool: one process at a time, waiting in the kernel.

    Threads of one process must take turns by themselves.
    """

    def __init__(self, path: Path) -> None:
        self._lock = open_lock(path)

    def __enter__(self) -> Self:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the lock's file."""
        os.close(self._lock)


class Users:
    """Who has the folder open: `first` says whether nobody else had, and holds off others until `share`."""

    def __init__(self, locks: Path) -> None:
        self._lock = open_lock(locks / USERS)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.first = True
        except BlockingIOError:
            self.first = False

    def share(self) -> None:
        """Become one of several users; waits for a first one that still looks after the folder."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Use the folder no more."""
        os.close(self._lock)


class Session:
    """The life of one user of the spool, as others can see it: a lock that is held until the process ends."""

    def __init__(self, locks: Path) -> None:
        self.name = str(uuid.uuid4())
        path = locks / f"{self.name}.lock"
        while True:
            self._lock = open_lock(path)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if path.exists():  # else a cleaner removed it between opening and locking
                break
            os.close(self._lock)
        self._path = path

    def close(self) -> None:
        """End the session: what it leased is free."""
        self._path.unlink(missing_ok=True)
        os.close(self._lock)


def is_alive(locks: Path, session: str) -> bool:
    """Return whether the process of this session lives; what a dead one left is removed."""
    path = locks / f"{session}.lock"
    try:
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(lock)


def is_served(locks: Path) -> bool:
    """Return whether somebody delivers: the process of some session lives; raises OSError."""
    return any(is_alive(locks, path.stem) for path in locks.glob(_SESSIONS))


def remove_dead(locks: Path) -> None:
    """Remove what dead sessions left."""
    for path in locks.glob(_SESSIONS):
        is_alive(locks, path.stem)
