"""Checks a file of the spool: by SQLite's own check, and for damage that this does not notice."""

import sqlite3
from contextlib import closing
from pathlib import Path

from lineside.spool.store.quarantine import is_damage
from lineside.spool.store.schema import VERSION, add_functions

_MAX_SAID = 3


def what_is_wrong(path: Path, schema: str, *, deep: bool) -> str | None:
    """Return what is damaged in a file of the spool, None where nothing is found; a file that is not there is whole.

    The header and the schema are always read; with `deep` everything is, which takes about 3 seconds a gigabyte.
    Raises sqlite3.Error where the disk or the folder fails rather than the file.
    """
    if not path.exists() or (path.stat().st_size == 0 and not path.with_name(path.name + "-wal").exists()):
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as link:
            add_functions(link)
            wrong = _schema_fault(link, schema) or (next(iter(faults(link)), None) if deep else None)
            if wrong is None and deep:
                _read_texts(link)
            return wrong
    except UnicodeDecodeError as error:
        return f"text that is no UTF-8: {error}"
    except sqlite3.Error as error:
        if is_damage(error) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            return str(error)
        raise


def _read_texts(link: sqlite3.Connection) -> None:
    """Read all texts; raises UnicodeDecodeError where one is no UTF-8, which SQLite itself does not look at."""
    for (table,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        texts = [row[1] for row in link.execute(f"PRAGMA table_info({table})") if row[2] == "TEXT"]
        if texts:
            for _row in link.execute(f"SELECT {', '.join(texts)} FROM {table}"):  # noqa: S608 - the schema's own names
                pass


def faults(link: sqlite3.Connection) -> list[str]:
    """Return what is damaged in an open file, the first few things; reads everything. Raises sqlite3.Error."""
    link.execute("PRAGMA cell_size_check = ON")
    said = [str(row[0]) for row in link.execute(f"PRAGMA integrity_check({_MAX_SAID})")]
    found = [] if said == ["ok"] else said
    for (table,) in link.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%proof(%'"
    ).fetchall():
        columns = [row[1] for row in link.execute(f"PRAGMA table_info({table})")]
        wrong = link.execute(
            f"SELECT count(*) FROM {table} WHERE proof IS NOT proof({', '.join(columns)})"  # noqa: S608 - the schema's own names
        ).fetchone()[0]
        if wrong:
            found.append(f"{wrong} rows of {table} are not as they were written")
    return found


def _schema_fault(link: sqlite3.Connection, schema: str) -> str | None:
    """Compare tables and version with what they should be; a newer version is refused where the file is opened."""
    (version,) = link.execute("PRAGMA user_version").fetchone()
    tables = _tables(link)
    if version == 0 and not tables:
        return None
    with closing(sqlite3.connect(":memory:")) as fresh:
        add_functions(fresh)
        fresh.executescript(schema)
        if tables == _tables(fresh):
            return None if version == VERSION else f"its version is {version}, its tables are of {VERSION}"
    return f"its tables are not those of version {VERSION}" if version in {0, VERSION} else None


def _tables(link: sqlite3.Connection) -> set[tuple[str, ...]]:
    rows = link.execute(
        "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE name <> 'sqlite_sequence'"
    )
    return {tuple(row) for row in rows}
