"""Damaged rows, blobs and files, moved to the folder `quarantine` for inspection, within a bound.

A file `damaged` in the spool's folder requests repair: every process that sees it closes its files, and the first
that then has the folder to itself repairs it.
"""

import base64
import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from lineside.durable_files import sync
from lineside.spool.store.entry import StoredBlob
from lineside.spool.store.locks import FILE_MODE, FOLDER_MODE

log = structlog.get_logger("lineside.spool")

FOLDER = "quarantine"
MARK = "damaged"
_PRIMARY = 0xFF
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
# A sector that cannot be read; other errors of the disk are not the file's.
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}
LOG_SUFFIXES = ("-wal", "-shm", "-journal")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error of SQLite says that the file is damaged, rather than that the disk or a caller fails."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # Python's own, for text that is no UTF-8
        return isinstance(error, sqlite3.OperationalError) and "decode" in str(error)
    return code & _PRIMARY in _DAMAGE or code in _UNREADABLE


def request_repair(folder: Path, reason: str) -> None:
    """Request the repair of a spool, once. Raises OSError."""
    if not is_repair_requested(folder):
        log.error("The spool is damaged; it is repaired now", folder=str(folder), reason=reason)
        (folder / MARK).write_text(reason + "\n", encoding="utf-8")


def is_repair_requested(folder: Path) -> bool:
    """Return whether the repair of a spool is requested."""
    return (folder / MARK).exists()


def keep_row(folder: Path, name: str, row: Mapping[str, object]) -> Path:
    """Write the columns of a damaged row to a file of JSON, bytes as base64. Raises OSError."""
    shown = {key: _shown(value) for key, value in row.items()}
    path = _place(folder, f"{name}.json")
    path.write_text(json.dumps(shown, ensure_ascii=True) + "\n", encoding="utf-8")
    path.chmod(FILE_MODE)
    return path


def keep_blob(folder: Path, blob: StoredBlob) -> Path | None:
    """Move a damaged blob away; None where it is gone. Raises OSError."""
    path = _place(folder, Path(blob.file).name)
    try:
        (folder / blob.file).rename(path)
    except FileNotFoundError:
        return None
    return path


def keep_database(folder: Path, name: str) -> Path | None:
    """Move a damaged SQLite file away with its log; returns where it is now, None where it is gone. Raises OSError.

    The log goes first: it must never meet another file of that name.
    """
    target = _place(folder, name)
    for suffix in (*LOG_SUFFIXES, ""):
        path = folder / (name + suffix)
        if path.exists():
            path.rename(target.with_name(target.name + suffix))
    sync(target.parent)
    sync(folder)
    return target if target.exists() else None


def keep_file(folder: Path, name: str) -> Path:
    """Move any other file of the spool away. Raises OSError."""
    return (folder / name).rename(_place(folder, name))


def prune(folder: Path, max_bytes: int) -> None:
    """Remove the oldest of what is set aside beyond a bound; the newest always stays. Raises OSError."""
    if not (folder / FOLDER).is_dir():
        return
    found = [(path.stat(), path) for path in (folder / FOLDER).iterdir()]
    total = sum(stat.st_size for stat, _path in found)
    for stat, path in sorted(found, key=lambda one: one[0].st_mtime_ns)[:-1]:
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        total -= stat.st_size
        log.warning("The oldest in quarantine is removed", file=str(path), bytes=stat.st_size)


def count(link: sqlite3.Connection, what: str, by: int = 1) -> None:
    """Add to the total `quarantined.<what>` in `progress.db`; within a transaction of the caller."""
    link.execute(
        "INSERT INTO counters (name, value) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (f"quarantined.{what}", by),
    )


def still_expected(link: sqlite3.Connection, numbers: Iterable[int]) -> set[int]:
    """Return which of these records belong to a batch and are not leaving: they should be there. Reads all batches."""
    found = link.execute(
        "SELECT value FROM batches, json_each(batches.numbers) WHERE value IN (SELECT value FROM json_each(?1)) "
        "EXCEPT SELECT value FROM leaving, json_each(leaving.numbers)",
        (json.dumps(list(numbers)),),
    )
    return {number for (number,) in found}


def take_out(link: sqlite3.Connection, sizes: Mapping[int, int]) -> None:
    """Take records that are gone, with their bytes, out of the batches that name them; reads all batches.

    A batch may have none left then: it is confirmed as it is.
    """
    rows = link.execute(
        "SELECT DISTINCT batches.number, numbers, size FROM batches, json_each(batches.numbers) "
        "WHERE value IN (SELECT value FROM json_each(?))",
        (json.dumps(list(sizes)),),
    ).fetchall()
    for batch, text, size in rows:
        numbers = json.loads(text)
        left = [number for number in numbers if number not in sizes]
        gone = sum(sizes[number] for number in numbers if number in sizes)
        link.execute(
            "UPDATE batches SET numbers = ?, records = ?, size = max(0, ? - ?) WHERE number = ?",
            (json.dumps(left, separators=(",", ":")), len(left), size, gone, batch),
        )


def _place(folder: Path, name: str) -> Path:
    """Return a path in quarantine that is free: the UTC time and the name."""
    place = folder / FOLDER
    place.mkdir(mode=FOLDER_MODE, exist_ok=True)
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    path = place / f"{stamp}-{name}"
    tries = 0
    while path.exists():
        tries += 1
        path = place / f"{stamp}.{tries}-{name}"
    return path


def _shown(value: object) -> object:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
