"""The files that are written: each part once, whatever file it is in; used by one thread."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineside_inference.history import folder as folders
from lineside_inference.history import part_filter
from lineside_inference.history.columns import TOLD, Columns, joined
from lineside_inference.history.folder import File, FolderLock
from lineside_inference.history.retention import DAY_MS, PARTS_OF_BOUND, Kept, is_due, too_many, too_old
from lineside_inference.history.schema import (
    COLUMNS,
    NotAHistory,
    Words,
    check,
    check_whole,
    connect_to_read,
    create,
    key_of,
    values,
)

Fate = Literal["written", "completed", "repeated", "conflicting"]
_BUSY_S = 1.0
_LOG_BYTES = 4 * 1024 * 1024
_AFTER_DAMAGE = 10**9
"""How many numbers are left out behind a damaged file: more than any file has."""
_MODE = 0o640
_PRIMARY = 0xFF
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PAGE = 4096
_IF_ABSENT = frozenset({"deadline_ms", "station", "part_id"})
_OF_OUTCOME = (*TOLD, "to_verdict_ms", *sorted(_IF_ABSENT))
_NOT_OF_RESULT = frozenset(TOLD)

Key = bytes | str
_Range = tuple[Key, Key]


@dataclass(frozen=True, slots=True)
class Halves:
    """What is to be written of a part."""

    request_id: str
    judged: Columns | None
    told: Columns | None


class Damaged(Exception):
    """A file is damaged; `path` is where it is."""

    def __init__(self, path: Path, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.path = path


class Store:
    """A folder's files, the last of which is written; raises sqlite3.Error, OSError, Damaged, InUse.

    After an error of SQLite everything is closed and opened anew by the next call.
    """

    def __init__(self, folder: Path, *, max_bytes: int, days: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._days = days
        self._lock: FolderLock | None = None
        self._file: File | None = None
        self._link: sqlite3.Connection | None = None
        self._words: Words | None = None
        self._day = 0
        self._next = 1
        self._ranges: dict[Path, list[_Range]] = {}
        self._filtered: set[Path] = set()
        self._newest: dict[Path, int | None] = {}
        self._log_pages = max(16, min(1000, max_bytes // PARTS_OF_BOUND // _PAGE // 2))

    def open(self, now_ms: int) -> None:
        """Open the newest file, or begin the first."""
        if self._lock is None:
            self._lock = FolderLock(self._folder)
        if self._link is not None:
            return
        found = folders.files(self._folder)
        for file in found[:-1]:
            if file.path not in self._ranges:
                self._ranges[file.path] = self._read_ranges(file.path)
        if found:
            self._use(found[-1])
        else:
            first = max((self._after(path) for path in folders.damaged(self._folder)), default=1)
            self._begin(first, now_ms)

    def write(self, parts: Sequence[Halves], now_ms: int) -> list[Fate]:
        """Write parts in order, in one transaction of each file that is concerned; return what became of each."""
        self.open(now_ms)
        self._turn(now_ms)
        fates: list[Fate | None] = [None] * len(parts)
        older: dict[Path, list[int]] = {}
        with self._transaction(self._file, self._link) as (link, words):
            number = self._next
            for at, part in enumerate(parts):
                key = key_of(part.request_id)
                fate = _complete(link, words, key, part)
                if fate is None and (path := self._older(key)) is not None:
                    older.setdefault(path, []).append(at)
                    continue
                if fate is None:
                    _insert(link, words, number, key, part)
                    number, fate = number + 1, "written"
                fates[at] = fate
        self._next = number
        for path, places in older.items():
            for at, fate in zip(places, self._write_older(path, [parts[at] for at in places]), strict=True):
                fates[at] = fate
        return [fate or "repeated" for fate in fates]

    def forget(self, now_ms: int, *, by_age: bool) -> list[Path]:
        """Give up what is too old, where the clock can be trusted, and what is too much; return what was deleted."""
        found = folders.files(self._folder)
        kept = [Kept(file.path, file.bytes, self._newest_of(file.path, is_last=file is found[-1])) for file in found]
        aside = [Kept(path, folders.damaged_bytes(path), None) for path in folders.damaged(self._folder)]
        gone = too_old(kept, now_ms=now_ms, days=self._days) if by_age else []
        rest = [file for file in kept if file.path not in gone]
        gone += too_many([*aside, *rest], max_bytes=self._max_bytes)
        for path in gone:
            folders.remove(path)
            self._ranges.pop(path, None)
            self._newest.pop(path, None)
        return gone

    def add_filter(self) -> bool:
        """Give one of the older files its filter of part ids; return whether there was one without."""
        for path in self._ranges:
            if path in self._filtered:
                continue
            with _as_damage(path), closing(_connect(path, is_newest=False)) as link:
                if link.execute("SELECT part_filter IS NULL FROM about").fetchone()[0]:
                    count = link.execute("SELECT count(*) FROM parts WHERE part_id IS NOT NULL").fetchone()[0]
                    rows = link.execute("SELECT part_id FROM parts WHERE part_id IS NOT NULL")
                    made = part_filter.make((part_id for (part_id,) in rows), count)
                    link.execute("UPDATE about SET part_filter = ?", (made,))
                with suppress(sqlite3.OperationalError):
                    link.execute("PRAGMA journal_mode = DELETE")
            self._filtered.add(path)
            return True
        return False

    def set_aside(self, path: Path, now_ms: int) -> Path:
        """Put a damaged file aside under another name; where it was the one in use a new one is begun."""
        self._drop()
        self._ranges.pop(path, None)
        found = folders.files(self._folder)
        aside = folders.set_aside(path)
        if found and found[-1].path == path:
            self._begin(found[-1].first + _AFTER_DAMAGE, now_ms)
        return aside

    def close(self) -> None:
        """Close the files and let go of the folder."""
        self._drop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # The file in use.

    def _use(self, file: File) -> None:
        if not file.path.exists():  # SQLite gives its other files the rights of this one
            os.close(os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
        with _as_damage(file.path):
            link = _connect(file.path)
            try:
                # The log is not in the bound of a file: it is small beside it.
                link.execute(f"PRAGMA wal_autocheckpoint = {self._log_pages}")
                check(link, file.path)
                check_whole(link)
                self._words = Words(link)
                self._day = link.execute("SELECT day FROM about").fetchone()[0]
                newest = link.execute("SELECT max(number) FROM parts").fetchone()[0]
            except BaseException:
                link.close()
                raise
        self._file, self._link = file, link
        self._next = file.first if newest is None else newest + 1

    def _begin(self, first: int, now_ms: int) -> None:
        path = folders.path_of(self._folder, first)
        new = path.with_suffix(".new")
        folders.remove(new)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE))
        link = sqlite3.connect(new, isolation_level=None)
        try:
            create(link, now_ms // DAY_MS)
        finally:
            link.close()
        new.rename(path)  # a kill before leaves no file that is half made
        self._use(File(path, first))

    def _turn(self, now_ms: int) -> None:
        """Begin a new file where that is due."""
        file = self._file
        if file is None or self._next == file.first:
            return
        if not is_due(
            day=now_ms // DAY_MS, first_day=self._day, bytes_used=file.path.stat().st_size, max_bytes=self._max_bytes
        ):
            return
        link = self._link
        if link is not None:
            self._ranges[file.path] = _ranges(link)
            with suppress(sqlite3.OperationalError):  # somebody reads: it stays as it is
                link.execute("PRAGMA journal_mode = DELETE")
        self._drop()
        self._begin(self._next, now_ms)

    def _drop(self) -> None:
        link, self._link, self._words, self._file = self._link, None, None, None
        if link is not None:
            with suppress(sqlite3.Error):
                link.close()

    @contextmanager
    def _transaction(
        self, file: File | None, link: sqlite3.Connection | None
    ) -> Iterator[tuple[sqlite3.Connection, Words]]:
        words = self._words
        if file is None or link is None or words is None:
            raise sqlite3.OperationalError("the history is not open")
        try:
            with _as_damage(file.path):
                link.execute("BEGIN IMMEDIATE")
                yield link, words
                link.execute("COMMIT")
        except BaseException:
            self._drop()  # its view of the file and of the words may be wrong from now on
            raise

    # Older files: a part that was judged before midnight is completed where it is.

    def _older(self, key: Key) -> Path | None:
        """Return the older file that has a part, None where none has."""
        for path, ranges in reversed(self._ranges.items()):
            if not any(type(key) is type(low) and low <= key <= high for low, high in ranges):  # type: ignore[operator]
                continue
            with _as_damage(path), _reading(path) as link:
                if link.execute("SELECT 1 FROM parts WHERE id = ?", (key,)).fetchone():
                    return path
        return None

    def _write_older(self, path: Path, parts: Sequence[Halves]) -> list[Fate]:
        with _as_damage(path):
            link = _connect(path, is_newest=False)
            try:
                words = Words(link)
                link.execute("BEGIN IMMEDIATE")
                fates = [
                    _complete(link, words, key_of(part.request_id), _no_part_id(part)) or "repeated" for part in parts
                ]
                link.execute("COMMIT")
                return fates
            finally:
                with suppress(sqlite3.Error):
                    link.close()

    def _read_ranges(self, path: Path) -> list[_Range]:
        with _as_damage(path), _reading(path) as link:
            return _ranges(link)

    def _newest_of(self, path: Path, *, is_last: bool) -> int | None:
        """Return the instant of a file's newest part; of the last, which is never too old, nobody asks."""
        if is_last or path in self._newest:
            return self._newest.get(path)
        try:
            with _reading(path) as link:
                self._newest[path] = link.execute("SELECT max(at) FROM parts").fetchone()[0]
        except sqlite3.Error:
            return None  # who reads it finds the damage
        return self._newest[path]

    @staticmethod
    def _after(path: Path) -> int:
        digits = "".join(filter(str.isdigit, path.name.partition(".")[0]))
        return int(digits or 0) + _AFTER_DAMAGE


def _no_part_id(part: Halves) -> Halves:
    """Return what is added to an older file's part: its filter of part ids stays true."""
    none = {"part_id": None}
    return Halves(part.request_id, part.judged and part.judged | none, part.told and part.told | none)


def _complete(link: sqlite3.Connection, words: Words, key: Key, part: Halves) -> Fate | None:
    """Add to a part's row what is new; None where there is no such row. The first outcome stands."""
    row = link.execute("SELECT number, mark, judged FROM parts WHERE id = ?", (key,)).fetchone()
    if row is None:
        return None
    number, mark, judged = row
    fate: Fate = "repeated"
    if part.judged is not None and judged is None:
        new = {name: value for name, value in part.judged.items() if value is not None}
        _update(link, words, number, {name: value for name, value in new.items() if name not in _NOT_OF_RESULT})
        fate = "completed"
    if part.told is not None and mark is None:
        _update(link, words, number, {name: part.told[name] for name in _OF_OUTCOME})
        return "completed"
    if part.told is not None and mark != part.told["mark"]:
        return "conflicting"
    return fate


def _insert(link: sqlite3.Connection, words: Words, number: int, key: Key, part: Halves) -> None:
    row = {"number": number, "id": key, **values(joined(part.judged, part.told), words)}
    link.execute(_INSERT, [row.get(name) for name in COLUMNS])


_INSERT = f"INSERT INTO parts ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608 - constants


def _update(link: sqlite3.Connection, words: Words, number: int, columns: Columns) -> None:
    new = values(columns, words)
    sets = ", ".join(f"{name} = coalesce({name}, ?)" if name in _IF_ABSENT else f"{name} = ?" for name in new)
    link.execute(f"UPDATE parts SET {sets} WHERE number = ?", [*new.values(), number])  # noqa: S608 - constants


def _ranges(link: sqlite3.Connection) -> list[_Range]:
    """Return the smallest and the greatest id of those that are texts, and of those that are UUIDs."""
    texts = link.execute("SELECT min(id), max(id) FROM parts WHERE id < x''").fetchone()
    uuids = link.execute("SELECT min(id), max(id) FROM parts WHERE id >= x''").fetchone()
    return [(low, high) for low, high in (texts, uuids) if low is not None]


def _connect(path: Path, *, is_newest: bool = True) -> sqlite3.Connection:
    link = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S, check_same_thread=False)
    try:
        if is_newest:  # an older one stays as it is: a change would wait for who reads it
            link.execute("PRAGMA journal_mode = WAL").fetchone()
        link.execute("PRAGMA synchronous = FULL")
        link.execute("PRAGMA secure_delete = OFF")
        link.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    except BaseException:
        link.close()
        raise
    return link


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    link = connect_to_read(path)
    try:
        yield link
    finally:
        link.close()


@contextmanager
def _as_damage(path: Path) -> Iterator[None]:
    """Raise Damaged for what says that the file is none, or none that is whole."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise Damaged(path, error) from error
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error says that the file itself is wrong, not the disk below it or who else uses it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, NotAHistory) or "decode" in str(error)  # Python's own, for text that is no UTF-8
    return code & _PRIMARY in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ
