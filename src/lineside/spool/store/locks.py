"""Locks between the processes and containers of a box: `flock` on files of the spool's folder.

The kernel lets go of a dead process's locks, so that nothing here needs a clock or a process id. A lock belongs to the
open file: a process that forks without starting another program shares it with its child.
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
_OWNERS = "????????-*.lock"


def open_lock(path: Path) -> int:
    """Open a lock's file, making it where it is new; raises OSError."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


class WriteLock:
    """The exclusive right to write one file of the spool, between processes; `with` waits for it in the kernel.

    Threads of one process need a lock of their own beside it.
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


class FolderLock:
    """The right to use the folder: exclusive where no other process had it (`is_first`), until `share`; else shared."""

    def __init__(self, locks: Path) -> None:
        self._lock = open_lock(locks / USERS)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_first = True
        except BlockingIOError:
            self.is_first = False

    def share(self) -> None:
        """Hold it together with other processes; waits for one that still holds it alone."""
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    def close(self) -> None:
        """Release it."""
        os.close(self._lock)


class OwnerLock:
    """Shows other processes that the owner of leases lives: a lock, by the owner's random name, held until it ends."""

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
        """Release it: the batches that its owner leased are free."""
        self._path.unlink(missing_ok=True)
        os.close(self._lock)


def is_alive(locks: Path, owner: str) -> bool:
    """Return whether an owner's process lives; the lock file of a dead one is removed."""
    path = locks / f"{owner}.lock"
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
    """Return whether any owner's process lives, that is, whether a forwarder runs; raises OSError."""
    return any(is_alive(locks, path.stem) for path in locks.glob(_OWNERS))


def remove_dead(locks: Path) -> None:
    """Remove the lock files of dead owners."""
    for path in locks.glob(_OWNERS):
        is_alive(locks, path.stem)
