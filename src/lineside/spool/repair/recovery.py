"""Finds damage to a spool and repairs it; done by the first process that opens the folder, before anything else.

`records.db` damaged: every record that its checksum proves is read out of the file and its log, page by page, and
becomes a new file. `progress.db` damaged: a new one, so that what is still there is delivered again, with the same
ids. A log that SQLite does not read to its end: what it holds beside is put back. Everything is read once
after each boot, since only a power cut or the disk damages files at rest, and whenever damage was met; else the header.
"""

import contextlib
import os
import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import structlog

from lineside.durable_files import sync
from lineside.spool.repair.integrity import what_is_wrong
from lineside.spool.repair.salvage import salvage, salvage_log
from lineside.spool.settings import SpoolSettings
from lineside.spool.store import quarantine, wal
from lineside.spool.store.blobs import write_file
from lineside.spool.store.entry import Record, blobs_to_text, checksum
from lineside.spool.store.locks import FILE_MODE
from lineside.spool.store.schema import PROGRESS, PROGRESS_SCHEMA, RECORDS, RECORDS_SCHEMA, add_functions, connect

log = structlog.get_logger("lineside.spool")

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_CHECKED = "checked"
_BUILDING = ".building"
_LOG = "records.log"
_NEW = ".new"
_MANY = 1000
_MAX_PLAUSIBLE = 2**48
_QUARANTINE_SHARE = 4


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was done: what was wrong with either file, how many records were saved, and the numbers of those lost."""

    records: str | None = None
    progress: str | None = None
    saved: int = 0
    lost: tuple[int, ...] = ()

    @property
    def is_needed(self) -> bool:
        """Whether anything was damaged."""
        return self.records is not None or self.progress is not None


def recover(folder: Path, settings: SpoolSettings) -> Recovery:
    """Repair the spool in a folder that no other process has open.

    A crash in the middle does no harm: the next call starts over. Raises OSError or sqlite3.Error where the disk
    fails, sqlite3.OperationalError for a full one.
    """
    boot = _boot()
    is_new_boot = boot is None or _read(folder / _CHECKED) != boot
    deep = is_new_boot or quarantine.is_repair_requested(folder)
    try:
        done = _recover(folder, deep=deep, torn_log_is_damage=not is_new_boot)
    except sqlite3.Error as error:
        if deep or not quarantine.is_damage(error):
            raise
        deep = True
        done = _recover(folder, deep=True, torn_log_is_damage=True)
    if done.is_needed:
        _report(folder, done)
        quarantine.prune(folder, settings.max_bytes // _QUARANTINE_SHARE)
    if deep and boot is not None:
        (folder / _CHECKED).write_text(boot, encoding="ascii")
        (folder / _CHECKED).chmod(FILE_MODE)
    (folder / quarantine.MARK).unlink(missing_ok=True)
    return done


def _recover(folder: Path, *, deep: bool, torn_log_is_damage: bool) -> Recovery:
    for name in (PROGRESS, RECORDS):
        _finish(folder, name)
    _keep_log(folder)
    progress = _repair_progress(folder, torn_log_is_damage=torn_log_is_damage)
    records, saved, lost = _repair_records(folder, deep=deep)
    _numbers_go_on(folder)
    return Recovery(records, progress, saved, tuple(lost))


def _repair_progress(folder: Path, *, torn_log_is_damage: bool) -> str | None:
    """Begin `progress.db` anew where it is damaged; returns what was wrong.

    A power cut may tear its log too; what is lost by that was not reported as done.
    """
    path = folder / PROGRESS
    if torn_log_is_damage and wal.read(folder / f"{PROGRESS}-wal").is_damaged:
        wrong: str | None = "its log is damaged"
    else:
        # Read whole whenever it is opened: it is small, and what it says wrongly would be believed.
        wrong = what_is_wrong(path, PROGRESS_SCHEMA, deep=True)
    if wrong is None:
        return None
    names = _column(path, "SELECT name FROM destinations")
    totals = _column(
        path, "SELECT name || '=' || value FROM counters WHERE name LIKE 'dropped.%' OR name LIKE 'quarantined.%'"
    )
    said = _column(path, "SELECT seq FROM sqlite_sequence")
    # There never are more batches than numbers given: whatever the file says no more, no batch's number comes again.
    last = max(
        number for number in (*said, _last_number(folder)) if isinstance(number, int) and number < _MAX_PLAUSIBLE
    )
    with _building(folder, PROGRESS, PROGRESS_SCHEMA) as link:
        link.executemany(
            "INSERT OR IGNORE INTO destinations (name) VALUES (?)", [(name,) for name in names if isinstance(name, str)]
        )
        for table in ("batches", "leaving"):
            link.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, last))
        for total in totals:
            name, _, value = str(total).partition("=")
            link.execute("INSERT INTO counters (name, value) VALUES (?, ?)", (name, int(value)))
        quarantine.count(link, "progress")
    _finish(folder, PROGRESS)
    return wrong


def _repair_records(folder: Path, *, deep: bool) -> tuple[str | None, int, list[int]]:
    """Repair `records.db`; returns what was wrong, how many records were put back or saved, and which are lost."""
    path, log_path = folder / RECORDS, folder / _LOG
    left = list(salvage_log(path, log_path))
    wrong = what_is_wrong(path, RECORDS_SCHEMA, deep=deep or bool(left))
    if wrong is None and not log_path.exists():
        return None, 0, []
    known = _Known(folder)
    if wrong is not None:
        with _building(folder, RECORDS, RECORDS_SCHEMA) as link:
            saved = _put_back(link, chain(left, salvage(path)), known)
            _count(link, _column(path, "SELECT name || '=' || value FROM counters"))
            # The index of keys lies in other pages than the records.
            listed = _column(path, "SELECT number FROM records INDEXED BY sqlite_autoindex_records_1 ORDER BY key")
            lost = _missing(link, known, listed)
        _finish(folder, RECORDS)
    else:
        wrong = "its log is damaged"
        with closing(connect(path, RECORDS_SCHEMA)) as link:
            link.execute("BEGIN IMMEDIATE")
            taken = _highest(link)
            saved = _put_back(link, left, known)
            _delete_done(link, known)
            _count(link, [])
            # Which stream a lost record was of is unknown: those that may have been sealed are found by their batches.
            first = max(taken, *known.sealed.values(), 0) + 1
            lost = _missing(link, known, range(first, _highest(link)))
            link.execute("COMMIT")
    if log_path.exists():
        quarantine.keep_file(folder, _LOG)
    return wrong, saved, lost


def _keep_log(folder: Path) -> None:
    """Copy the log of `records.db` where it is damaged: SQLite removes it as soon as the file is opened and closed."""
    path, kept = folder / f"{RECORDS}-wal", folder / _LOG
    if not kept.exists() and wal.read(path).is_damaged:
        write_file(kept, path.read_bytes())
        sync(folder)


class _Known:
    """What `progress.db` knows of records: what is waiting, what is done with."""

    def __init__(self, folder: Path) -> None:
        self.batched = array("q")
        self.leaving: set[int] = set()
        self.sealed: dict[str, int] = {}
        self._link = connect(folder / PROGRESS, PROGRESS_SCHEMA)
        with closing(self._link) as link:
            for (numbers,) in link.execute("SELECT value FROM batches, json_each(batches.numbers)"):
                self.batched.append(numbers)
            for (number,) in link.execute("SELECT value FROM leaving, json_each(leaving.numbers)"):
                self.leaving.add(number)
            for name, value in link.execute("SELECT name, value FROM counters WHERE name LIKE 'sealed:%'"):
                self.sealed[name.removeprefix("sealed:")] = value
            self.gone = {
                key for (key,) in link.execute("SELECT key FROM outcomes WHERE outcome IN ('delivered', 'dropped')")
            }
        self.batched = array("q", sorted(self.batched))

    def waits(self, number: int, stream: str, key: str) -> bool:
        """Return whether a record that was found is to be kept: it belongs to a batch, or to none yet."""
        if number in self.leaving:
            return False
        if self.is_batched(number):
            return True
        return number > self.sealed.get(stream, 0) and key not in self.gone

    def is_batched(self, number: int) -> bool:
        place = bisect_left(self.batched, number)
        return place < len(self.batched) and self.batched[place] == number


def _put_back(link: sqlite3.Connection, found: Iterable[Record], known: _Known) -> int:
    """Insert the records that wait and are not there; returns how many."""
    before = link.total_changes
    rows: list[tuple[object, ...]] = []
    for record in found:
        if known.waits(record.number, record.stream, record.key):
            rows.append(_row(record))
            if len(rows) >= _MANY:
                link.executemany(_INSERT, rows)
                rows.clear()
    link.executemany(_INSERT, rows)
    return link.total_changes - before


_INSERT = "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


def _row(record: Record) -> tuple[object, ...]:
    text = blobs_to_text(record.blobs)
    head = (
        record.number,
        record.key,
        record.stream,
        record.folder,
        record.kept,
        record.producer,
        record.sequence,
        record.created_ms,
    )
    return (*head, record.size, text, checksum((*head, text, record.body)), record.body)


def _count(link: sqlite3.Connection, said: Iterable[object]) -> None:
    """Set the counters by what is there, and the sequences not lower than the damaged file said."""
    values: dict[str, int] = {}
    for text in said:
        name, _, value = str(text).rpartition("=")
        if value.isdecimal() and int(value) < _MAX_PLAUSIBLE and name not in {".records", ".bytes"}:
            values[name] = int(value)
    rows = link.execute("SELECT producer, max(sequence) FROM records GROUP BY producer").fetchall()
    for name, value in rows:
        values[name] = max(values.get(name, 0), value)
    values[".records"], values[".bytes"], last = link.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(max(number), 0) FROM records"
    ).fetchone()
    values[".number"] = max(values.get(".number", 0), last)
    link.executemany(
        "INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE "
        "SET value = CASE WHEN name IN ('.records', '.bytes') THEN excluded.value ELSE max(value, excluded.value) END",
        list(values.items()),
    )


def _delete_done(link: sqlite3.Connection, known: _Known) -> None:
    """Delete what came back because its deletion stood in the damaged log."""
    rows = link.execute("SELECT number, stream, key FROM records")
    done = [(row[0],) for row in rows if not known.waits(*row)]
    link.executemany("DELETE FROM records WHERE number = ?", done)


def _missing(link: sqlite3.Connection, known: _Known, listed: Iterable[object]) -> list[int]:
    """Return the records that waited and are not there: named by a batch, or otherwise known to have been there."""
    link.execute("CREATE TEMP TABLE expected (number INTEGER PRIMARY KEY)")
    numbers = (number for number in chain(known.batched, listed) if number not in known.leaving)
    link.executemany("INSERT OR IGNORE INTO expected VALUES (?)", ((number,) for number in numbers))
    rows = link.execute("SELECT number FROM expected WHERE number NOT IN (SELECT number FROM records)").fetchall()
    link.execute("DROP TABLE expected")
    return [number for (number,) in rows]


def _highest(link: sqlite3.Connection) -> int:
    return int(link.execute("SELECT coalesce(max(number), 0) FROM records").fetchone()[0])


def _numbers_go_on(folder: Path) -> None:
    """Set the last number so that none is given twice, whatever was lost: of records or in batches."""
    if not (folder / RECORDS).exists() or not (folder / PROGRESS).exists():
        return
    with closing(connect(folder / PROGRESS, PROGRESS_SCHEMA)) as link:
        highest = [row[0] for row in link.execute("SELECT value FROM counters WHERE name LIKE 'sealed%'")]
    with closing(connect(folder / RECORDS, RECORDS_SCHEMA)) as link:
        highest += [row[0] for row in link.execute("SELECT max(number) FROM records") if row[0] is not None]
        link.execute(
            "UPDATE counters SET value = ? WHERE name = '.number' AND value < ?", (max(highest, default=0),) * 2
        )


@contextlib.contextmanager
def _building(folder: Path, name: str, schema: str) -> Iterator[sqlite3.Connection]:
    """Give a connection to a new file beside the damaged one; at the end it is synced and ready to replace it."""
    path = folder / (name + _BUILDING)
    _remove(path)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    with closing(connect(path, schema)) as link:
        link.execute("PRAGMA synchronous = OFF")
        link.execute("BEGIN IMMEDIATE")
        yield link
        link.execute("COMMIT")
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    sync(path)
    path.rename(folder / (name + _NEW))
    sync(folder)


def _finish(folder: Path, name: str) -> None:
    """Put a new file in the place of the damaged one, also one that a crash left; half a one is removed."""
    _remove(folder / (name + _BUILDING))
    new = folder / (name + _NEW)
    if new.exists():
        quarantine.keep_database(folder, name)
        new.rename(folder / name)
        sync(folder)


def _remove(path: Path) -> None:
    for suffix in ("", *quarantine.LOG_SUFFIXES):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _column(path: Path, question: str) -> list[object]:
    """Read what a damaged file still says, up to where it fails."""
    found: list[object] = []
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as link,
    ):
        add_functions(link)
        for (value,) in link.execute(question):
            found.append(value)
    return found


def _last_number(folder: Path) -> int:
    """Return the last number given to a record, as far as `records.db` says."""
    numbers = _column(folder / RECORDS, "SELECT value FROM counters WHERE name = '.number'")
    numbers += _column(folder / RECORDS, "SELECT max(number) FROM records")
    return max([number for number in numbers if isinstance(number, int) and number < _MAX_PLAUSIBLE], default=0)


def _report(folder: Path, done: Recovery) -> None:
    with closing(connect(folder / PROGRESS, PROGRESS_SCHEMA)) as link:
        link.execute("BEGIN IMMEDIATE")
        if done.records is not None:
            quarantine.count(link, "page")
        if done.lost:
            quarantine.count(link, "lost", len(done.lost))
            quarantine.take_out(link, dict.fromkeys(done.lost, 0))
        link.execute("COMMIT")
    log.error(
        "The spool was damaged and is repaired",
        folder=str(folder),
        records=done.records,
        progress=done.progress,
        records_saved=done.saved,
        records_lost=len(done.lost),
        first_lost=min(done.lost, default=None),
        remedy="Look after the disk; what was damaged lies in quarantine, remove it when you have looked at it",
    )


def _boot() -> str | None:
    """Return the id of this boot of the machine; None where the system does not say."""
    return _read(_BOOT)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
