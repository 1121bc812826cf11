"""A file of reserved space, given up on a full disk: SQLite needs space even to delete."""

import contextlib
import os
from pathlib import Path

from lineside.spool.store.locks import FILE_MODE

NAME = "reserve"
_MAX_BYTES = 16 * 1024 * 1024
_MIN_BYTES = 1024 * 1024
"""Both logs, the files that SQLite's readers share, and what `progress.db` grows by before the first record is gone."""
_SHARE = 4


class Reserve:
    """The file `reserve` of a spool: made while there is room, given up when a delivery meets a full disk."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._path = folder / NAME
        self._least_free = reserve_bytes
        self._size = max(_MIN_BYTES, min(reserve_bytes // _SHARE, _MAX_BYTES))

    def make(self, free: int) -> bool:
        """Set the space aside where the disk has `free` bytes, enough for it; returns whether it is there."""
        try:
            if self._path.stat().st_size >= self._size:
                return True
        except FileNotFoundError:
            pass
        except OSError:
            return False
        if free < self._least_free + self._size:
            return False
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
            try:
                os.posix_fallocate(handle, 0, self._size)
            finally:
                os.close(handle)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Free the space; returns whether there was any."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            return True
        return False
