"""What was wanted and done, in SQLite: each change is on the disk when the call returns, over any crash.

It stays small: the latest record of each deployment, at most so many, and a row for each model. A write-ahead log with
`synchronous = FULL`, as the spool has it. A database that is damaged is put aside and begun anew: what it knew is then
read from the repository, and a change that was under way is undone by what lies there.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from lineside_deployer.errors import DeploymentError
from lineside_deployer.records import Installed, Record

log = structlog.get_logger("lineside.deployer")

KEPT = 100
"""So many finished deployments are remembered."""
_PAGES = 1280
"""Its bound: 5 MB of 4 KiB pages, as Edge Manager's database had."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (name TEXT PRIMARY KEY, changed REAL NOT NULL, is_done INTEGER NOT NULL,
 json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS installed (handle TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


class Database:
    """The file. Used from one thread at a time."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._link = _open(file)
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError):
                    _put_aside(file, error)
                    self._link = _open(file)
                else:
                    raise
        except (OSError, sqlite3.Error) as error:
            raise _unusable(file, error) from None

    def close(self) -> None:
        """Close the file."""
        self._link.close()

    def records(self) -> list[Record]:
        """Return all records, the newest first."""
        rows = self._link.execute("SELECT json FROM record ORDER BY changed DESC, rowid DESC").fetchall()
        return [Record.model_validate_json(row[0]) for row in rows]

    def record(self, name: str) -> Record | None:
        """Return the latest record of a deployment."""
        row = self._link.execute("SELECT json FROM record WHERE name = ?", (name,)).fetchone()
        return Record.model_validate_json(row[0]) if row else None

    def save(self, record: Record) -> None:
        """Keep a record as it is now."""
        with self._changing():
            self._save(record)

    def finish(self, record: Record, installed: list[Installed], withdrawn: list[str]) -> None:
        """Keep a record that is done, with the models that it has brought and those that it has taken out."""
        with self._changing():
            self._save(record)
            for each in installed:
                row = (each.handle, each.model_dump_json())
                self._link.execute("INSERT OR REPLACE INTO installed VALUES (?, ?)", row)
            for handle in withdrawn:
                self._link.execute("DELETE FROM installed WHERE handle = ?", (handle,))
            self._link.execute(
                "DELETE FROM record WHERE is_done AND name NOT IN "
                "(SELECT name FROM record ORDER BY changed DESC, rowid DESC LIMIT ?)",
                (KEPT,),
            )

    def installed(self) -> dict[str, Installed]:
        """Return the models that deployments have brought, by handle."""
        rows = self._link.execute("SELECT json FROM installed").fetchall()
        found = [Installed.model_validate_json(row[0]) for row in rows]
        return {each.handle: each for each in found}

    def note(self, name: str) -> str:
        """Return what was noted under a name, empty where nothing was."""
        row = self._link.execute("SELECT value FROM note WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def notes(self, **values: str) -> None:
        """Note these, all or none."""
        with self._changing():
            self._link.executemany("INSERT OR REPLACE INTO note VALUES (?, ?)", list(values.items()))

    def _save(self, record: Record) -> None:
        row = (record.deployment.DeploymentName, time.time(), record.is_done, record.model_dump_json())
        self._link.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", row)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            with self._link:
                self._link.execute("BEGIN IMMEDIATE")
                yield
        except sqlite3.Error as error:
            raise _unusable(self.file, error) from None


def _open(file: Path) -> sqlite3.Connection:
    link = sqlite3.connect(file, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        link.execute("PRAGMA journal_mode = WAL")
        link.execute("PRAGMA synchronous = FULL")
        link.execute(f"PRAGMA max_page_count = {_PAGES}")
        link.executescript(_SCHEMA)
        (said,) = link.execute("PRAGMA quick_check").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError(said)  # noqa: TRY301 - closed below
    except BaseException:
        link.close()
        raise
    return link


def _put_aside(file: Path, error: Exception) -> None:
    aside = file.with_name(f"{file.name}.damaged")
    log.error("the database is damaged and begun anew; the old one is put aside", file=str(aside), reason=str(error))
    for ending in ("", "-wal", "-shm"):
        part = file.with_name(file.name + ending)
        if part.exists():
            part.replace(aside.with_name(aside.name + ending))


def _unusable(file: Path, error: Exception) -> DeploymentError:
    return DeploymentError(
        f"the database {file} cannot be used: {error}", remedy="See who owns its folder, and its disk", transient=True
    )
