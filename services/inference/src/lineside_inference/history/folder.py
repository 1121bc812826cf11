"""The folder of the history: a file for each day, named by the number of its first part, and what was set aside."""

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lineside.errors import LinesideError

_NAME = re.compile(r"history-([0-9]{15})\.sqlite")
_DAMAGED = ".damaged"
_BESIDE = ("-wal", "-shm", "-journal")
_MODE = 0o640


class InUse(LinesideError):
    """Another process keeps this history."""

    code = "history-in-use"
    transient = True


@dataclass(frozen=True, slots=True)
class File:
    """A file of the history; its parts are numbered from `first` on, up to the next file's first."""

    path: Path
    first: int

    @property
    def bytes(self) -> int:
        """Return the bytes that it takes of the disk, with what SQLite has beside it."""
        return sum(_size(path) for path in _with_beside(self.path))


def files(folder: Path) -> list[File]:
    """Return the files of a history, oldest first; raises OSError."""
    found = [(path, _NAME.fullmatch(path.name)) for path in folder.iterdir()]
    return sorted((File(path, int(name[1])) for path, name in found if name), key=lambda file: file.first)


def path_of(folder: Path, first: int) -> Path:
    """Return where the file is whose first part has this number."""
    return folder / f"history-{first:015}.sqlite"


def damaged(folder: Path) -> list[Path]:
    """Return what was set aside, oldest first; raises OSError."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(_DAMAGED))


def damaged_bytes(path: Path) -> int:
    """Return the bytes of what was set aside."""
    return sum(_size(each) for each in _with_beside(path))


def set_aside(path: Path) -> Path:
    """Give a damaged file another name, for people to look at; raises OSError."""
    aside = path.with_name(path.name + _DAMAGED)
    for beside in _BESIDE:
        old = Path(f"{path}{beside}")
        if old.exists():
            old.rename(f"{aside}{beside}")
    path.rename(aside)
    return aside


def remove(path: Path) -> None:
    """Delete a file and what SQLite has beside it; raises OSError."""
    for each in (*reversed(list(_with_beside(path))),):
        each.unlink(missing_ok=True)


class FolderLock:
    """Holds a folder for this process; the process's end lets go of it."""

    def __init__(self, folder: Path) -> None:
        """Make the folder and take it; raises InUse, OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            if not isinstance(error, BlockingIOError):
                raise
            raise InUse(
                f"another process keeps the history in {folder}",
                remedy="Give each inference service a folder of its own: inference.history.folder",
            ) from None

    def close(self) -> None:
        """Let go of it."""
        os.close(self._file)


def _with_beside(path: Path) -> Iterator[Path]:
    yield path
    for beside in _BESIDE:
        yield Path(f"{path}{beside}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
