"""The files that Stream Manager reads, in a folder of this process alone.

Each is written once under a name that is never used again. The folder is removed when the process ends; that of a
killed process by the next one, which sees by its lock that it is dead. A task whose file is gone fails without effect.
"""

import errno
import fcntl
import itertools
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from lineside.durable_files import sync
from lineside_forwarder.errors import DestinationAway, NotAllowed

_LOCK = ".lock"


class Folder:
    """A folder of this process below `path`, which must be there.

    Methods block on the disk; they raise NotAllowed, or DestinationAway where the disk is full.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._prefix = f"{name}."
        self._own: Path | None = None
        self._lock: int | None = None
        self._numbers = itertools.count(1)

    def begin(self) -> None:
        """Make the folder, once, and remove those of processes that are gone."""
        if self._own is not None:
            return
        with _told(self._path), _locked(self._path / f"{self._prefix}lock"):
            for found in self._path.glob(f"{self._prefix}*"):
                if found.is_dir() and not _is_alive(found):
                    shutil.rmtree(found, ignore_errors=True)
            own = self._path / f"{self._prefix}{uuid.uuid4().hex}"
            own.mkdir()
            # The group of `path`, where it is inherited, is how Stream Manager's user may read what is ours.
            own.chmod(0o750 | own.stat().st_mode & stat.S_ISGID)
            self._lock = os.open(own / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._own = own

    def file(self, name: str) -> "LocalFile":
        """Return a new file, not made yet; `name` is for people. `begin` comes first."""
        return LocalFile((self._own or self._path) / f"{next(self._numbers)}-{name}")

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
            self._own = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class LocalFile:
    """A file that is being written, then read by Stream Manager, then removed. Methods block and raise as Folder's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    def make(self) -> None:
        """Make it, readable for the folder's group."""
        with _told(self.path.parent):
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            self._file = FileIO(handle, "wb")
            os.fchmod(handle, 0o640)

    def write(self, data: bytes) -> None:
        """Write all of it."""
        assert self._file is not None  # noqa: S101 - made before
        with _told(self.path.parent):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]

    def finish(self) -> None:
        """Have it on the disk, with its name: after a power cut Stream Manager finds all of it, or a failure."""
        assert self._file is not None  # noqa: S101 - made before
        with _told(self.path.parent):
            os.fsync(self._file.fileno())
            self._file.close()
            sync(self.path.parent)

    def remove(self) -> None:
        """Close it where it is open, and remove it."""
        if self._file is not None:
            self._file.close()
        with suppress(OSError):
            self.path.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raise an OSError as the error that it means for the delivery."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            free = shutil.disk_usage(path).free
            raise DestinationAway(
                f"the disk of {path} is full: {free} bytes are free", remedy="Make room there"
            ) from None
        raise NotAllowed(
            f"{path} cannot be used: {error.strerror or error}",
            reason="folder",
            remedy="Make the folder `path`, writable for the forwarder and readable for Stream Manager",
        ) from None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_alive(folder: Path) -> bool:
    """Return whether the process lives that made a folder; one without a lock died while it made it."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)
