"""One SQLite file of the spool: a connection that writes in turns and one that reads, opened anew after an error."""

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from lineside.spool.errors import SpoolError, SpoolFull, SpoolUnusable
from lineside.spool.store.locks import FILE_MODE, WriteLock
from lineside.spool.store.quarantine import is_damage
from lineside.spool.store.schema import connect

_PRIMARY = 0xFF


class Database:
    """A file of the spool, for all threads of this process.

    After any error of SQLite the connection is closed: its view of the file may be wrong from then on.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        turn: Path,
        *,
        using: Callable[[], AbstractContextManager[None]] = nullcontext,
        on_damage: Callable[[str], None] = lambda _reason: None,
        log_pages: int = 1000,
    ) -> None:
        """Make it without opening it; every use is within `using()`, `on_damage` hears that the file is damaged.

        `log_pages` is how much may be in the write-ahead log alone: so much the file may have to grow on a full disk.
        """
        self._log_pages = log_pages
        self.path = path
        self._using = using
        self._on_damage = on_damage
        self._schema = schema
        self._turn = WriteLock(turn)
        self._writes = threading.Lock()
        self._reads = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._durable = True
        self._closed = False

    def open(self) -> None:
        """Open the file, making it where it is new; raises SpoolUnusable, SpoolFull."""
        with self.writing():
            pass

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction that is committed at the end, or rolled back on an error.

        With `durable=False` a power cut may undo it, though never half of it nor anything before it. Raises
        SpoolFull where the disk is full, SpoolUnusable for every other error of SQLite or the disk.
        """
        with self._translating(), self._using(), self._writes, self._turn:
            link = self._writer
            try:
                if link is None:
                    link = self._writer = self._connect()
                    self._durable = True
                if durable != self._durable:
                    link.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                    self._durable = durable
                link.execute("BEGIN IMMEDIATE")
                yield link
                link.execute("COMMIT")
            except sqlite3.Error:
                self._writer = None
                _discard(link)
                raise
            except BaseException:
                if link is not None and link.in_transaction:
                    _roll_back(link)
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for reading; every statement sees what is committed. Raises SpoolUnusable.

        Fetch all of a statement's rows at once: an open one would hold back the end of the write-ahead log.
        """
        with self._translating(), self._using(), self._reads:
            link = self._reader
            try:
                if link is None:
                    link = self._reader = self._connect()
                yield link
            except sqlite3.Error:
                self._reader = None
                _discard(link)
                raise

    def reuse_log(self) -> None:
        """Bring the write-ahead log into the file, so that what is written next takes no more of the disk.

        Raises SpoolFull where even that needs more, SpoolUnusable.
        """
        with self._translating(), self._using(), self._writes, self._turn:
            if self._writer is None:
                self._writer = self._connect()
                self._durable = True
            self._writer.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def let_go(self) -> None:
        """Close the connections; the next use opens them anew."""
        with self._writes, self._reads:
            for link in (self._reader, self._writer):
                _discard(link)
            self._reader = self._writer = None

    def close(self) -> None:
        """Close the file."""
        with self._writes, self._reads:
            if self._closed:
                return
            self._closed = True
            for link in (self._reader, self._writer):
                _discard(link)
            self._reader = self._writer = None
            self._turn.close()

    @contextmanager
    def _translating(self) -> Iterator[None]:
        """Raise what SQLite and the disk say as what it means to the caller."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except UnicodeDecodeError as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise unusable(self.path, error) from error

    def _translated(self, error: sqlite3.Error) -> SpoolError:
        if is_full(error):
            return full(self.path)
        if is_damage(error):
            return self._damaged(str(error))
        return SpoolUnusable(f"{self.path}: {error}", remedy="Look after the disk; nothing was kept")

    def _damaged(self, reason: str) -> SpoolError:
        self._on_damage(f"{self.path.name}: {reason}")
        return SpoolUnusable(
            f"{self.path} is damaged: {reason}",
            remedy="It is repaired as soon as all services of this box that have it open use it next",
        )

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise SpoolUnusable("The spool is closed", remedy="Open it again", transient=False)
        if not self.path.exists():  # SQLite gives its other files the rights of this one
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        link = connect(self.path, self._schema)
        link.execute(f"PRAGMA wal_autocheckpoint = {self._log_pages}")
        return link


def is_full(error: sqlite3.Error) -> bool:
    """Return whether a full disk is behind an error; of the file in shared memory SQLite says only that it is small."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def unusable(path: Path, error: OSError) -> SpoolError:
    """Return what a failing disk or folder means to the caller."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return full(path)
    return SpoolUnusable(f"{path}: {error.strerror or error}", remedy="Look after the disk; nothing was kept")


def full(path: Path) -> SpoolFull:
    """Return what a full disk means to the caller."""
    return SpoolFull(
        f"The disk of {path} is full", remedy="Free space on it, or let the forwarder deliver; nothing was kept"
    )


def _roll_back(link: sqlite3.Connection) -> None:
    link.execute("ROLLBACK")


def _discard(link: sqlite3.Connection | None) -> None:
    """Close a connection, whatever state it is in."""
    if link is None:
        return
    for step in (lambda: link.in_transaction and link.execute("ROLLBACK"), link.close):
        try:
            step()
        except sqlite3.Error:
            continue
