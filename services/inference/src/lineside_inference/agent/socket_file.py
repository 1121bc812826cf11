"""The socket's file: claimed by one process, there only while somebody serves, with its mode and group from the start.

A second gRPC server that binds the same path takes it over without an error, and removes it when it ends. So whoever
serves holds a lock on a file beside it, and whatever else answers at the path is left alone. The socket is bound in a
folder that nobody else may enter, and moved to its path when it has its mode: clients never meet a half-made one. That
folder stays open, removed: gRPC removes a socket at the path that it bound when it stops, and shall find none there.
"""

import fcntl
import grp
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import structlog

from lineside.errors import LinesideError

log = structlog.get_logger("lineside.inference.agent")

MAX_PATH = 107
"""Bytes of a path that fit into sockaddr_un, with the zero behind it (Linux, unix(7))."""
_NAME = "agent.sock"
_PATIENCE_S = 2.0


class SocketFile:
    """A path for a socket, claimed for this process. Errors are LinesideError that name the path."""

    def __init__(self, path: Path, *, mode: int, group: str | None) -> None:
        """Claim it: raises LinesideError where somebody serves there already, or it cannot be made."""
        self.path = path
        self._mode = mode
        self._group = _group_id(group)
        self._lock: int | None = _locked(path)
        self._making: Path | None = None
        self._folder: int | None = None
        self._file: tuple[int, int] | None = None
        try:
            _check_free(path)
        except BaseException:
            self.release()
            raise

    def begin(self) -> str:
        """Return the address to bind for gRPC: in a new folder of our own, by a path that is short whatever ours is."""
        try:
            self._making = Path(tempfile.mkdtemp(prefix=".lineside-", dir=self.path.parent))
            self._folder = os.open(self._making, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise _impossible(self.path, error) from None
        return f"unix:/proc/self/fd/{self._folder}/{_NAME}"

    def show(self) -> None:
        """Move the socket that was bound and serves to its path, over one that nobody serves."""
        if self._making is None:
            raise LinesideError(f"no socket was bound for {self.path}")
        bound = self._making / _NAME
        try:
            if self._group is not None:
                os.chown(bound, -1, self._group)
            bound.chmod(self._mode)
            status = bound.stat()
            _check_free(self.path)
            bound.rename(self.path)
            self._making.rmdir()
        except OSError as error:
            raise _impossible(self.path, error) from None
        self._file, self._making = (status.st_dev, status.st_ino), None

    def release(self) -> None:
        """Take the file away, where it is still ours, and let others claim the path."""
        if self._file is not None and _identity(self.path) == self._file:
            self.path.unlink(missing_ok=True)
        self._file = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        if self._making is not None:
            shutil.rmtree(self._making, ignore_errors=True)
            self._making = None
        if self._lock is not None:
            _lock_path(self.path).unlink(missing_ok=True)  # while it is locked: see _locked
            os.close(self._lock)
            self._lock = None


def _lock_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _locked(path: Path) -> int:
    """Return the open and locked file beside a path; raises LinesideError where another process has it."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise LinesideError(
            f"the path of the agent's socket has {len(os.fsencode(path))} bytes: {path}",
            remedy=f"A unix socket's path has at most {MAX_PATH}",
        )
    while True:
        try:
            descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise _impossible(path, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise _running(path) from None
        status = os.fstat(descriptor)
        if _identity(_lock_path(path)) == (status.st_dev, status.st_ino):
            return descriptor
        os.close(descriptor)  # whoever had it removed it between our open and our lock


def _check_free(path: Path) -> None:
    """Raise LinesideError where somebody answers at a path, or what is there is no socket."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise LinesideError(
                f"{path} is there, and no socket", remedy="Remove it, or choose another path for the agent's socket"
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise _impossible(path, error) from None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(_PATIENCE_S)
        try:
            trial.connect(os.fsencode(path))
        except (ConnectionRefusedError, FileNotFoundError):
            log.info("the socket of a process that is gone is replaced", path=str(path))
            return
        except OSError:  # full, or not ours to connect to: somebody serves
            pass
    raise _running(path)


def _group_id(group: str | None) -> int | None:
    if group is None:
        return None
    if group.isascii() and group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise LinesideError(
            f"there is no group {group!r} here for the agent's socket",
            remedy="Give a group of this system, or its number; a container knows the host's groups by number only",
        ) from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _running(path: Path) -> LinesideError:
    return LinesideError(
        f"an agent is already running at {path}",
        remedy="End it (SageMaker Edge Manager's own, or another Lineside), or choose another path",
    )


def _impossible(path: Path, error: OSError) -> LinesideError:
    return LinesideError(
        f"the agent's socket {path} cannot be made: {error.strerror}",
        remedy="Its folder must be there, and this service's user must be allowed to write in it",
    )
