"""The two SQLite files of a spool, and how they are opened.

`records.db` holds what was put; rows are only inserted and deleted. `progress.db` holds what became of it: batches,
what each destination has, dead letters. A record's number never comes again, also after all were deleted.

Where a flipped bit would make the spool forget evidence without a word, a row carries a `proof` of its other columns,
which SQLite computes as it writes; it is compared when the file is opened, see `repair/integrity.py`.
"""

import sqlite3
import zlib
from pathlib import Path

from lineside.spool.errors import SpoolUnusable

VERSION = 1
RECORDS = "records.db"
PROGRESS = "progress.db"
PAGE = 4096
_BUSY_MS = 30_000
_CHECKPOINT_PAGES = 1000

RECORDS_SCHEMA = """
CREATE TABLE records (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, stream TEXT NOT NULL, folder TEXT NOT NULL,
    kept TEXT NOT NULL, producer TEXT NOT NULL, sequence INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    size INTEGER NOT NULL, blobs TEXT NOT NULL, checksum BLOB NOT NULL, body BLOB NOT NULL);
-- One row a producer (its last sequence), and rows `.number`, `.records`, `.bytes` for all: the last number given, and
-- how much there is now.
CREATE TABLE counters (
    name TEXT PRIMARY KEY, value INTEGER NOT NULL, proof INTEGER AS (proof(name, value)) STORED) WITHOUT ROWID;
INSERT INTO counters VALUES ('.number', 0), ('.records', 0), ('.bytes', 0);
-- What may be dropped, and what has files: found without reading all.
CREATE INDEX records_sampled ON records (number) WHERE kept = 'sampled';
CREATE INDEX records_with_blobs ON records (number) WHERE blobs <> '';
"""

PROGRESS_SCHEMA = """
-- What goes together. `numbers` is a JSON list of records, `first` the first of them as it was sealed. `done_ms`: since
-- when all destinations have it and it is only kept, else 0. Within a stream both kinds of numbers go up together.
CREATE TABLE batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, stream TEXT NOT NULL, folder TEXT NOT NULL,
    first INTEGER NOT NULL, numbers TEXT NOT NULL, records INTEGER NOT NULL, size INTEGER NOT NULL,
    sealed_ms INTEGER NOT NULL, done_ms INTEGER NOT NULL DEFAULT 0,
    proof INTEGER AS (proof(number, name, stream, folder, first, numbers, records, size, sealed_ms, done_ms)) STORED);
CREATE INDEX batches_by_stream ON batches (stream, number, records, size);
CREATE INDEX batches_by_record ON batches (stream, first);
CREATE INDEX batches_kept ON batches (done_ms, records, size) WHERE done_ms > 0;
CREATE TABLE destinations (
    name TEXT PRIMARY KEY, records INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', since_ms INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
-- The last batch of a stream that a destination is done with, apart from dead letters and those to be tried again.
CREATE TABLE progress (
    destination TEXT NOT NULL, stream TEXT NOT NULL, batch INTEGER NOT NULL,
    proof INTEGER AS (proof(destination, stream, batch)) STORED,
    PRIMARY KEY (destination, stream)) WITHOUT ROWID;
-- Batches that a destination was given and has not answered for, `owner` is the process that has it. A batch before the
-- destination's progress is a dead letter that is to be tried again.
CREATE TABLE leases (
    destination TEXT NOT NULL, batch INTEGER NOT NULL, owner TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (destination, batch)) WITHOUT ROWID;
CREATE TABLE dead (
    destination TEXT NOT NULL, batch INTEGER NOT NULL, reason TEXT NOT NULL, since_ms INTEGER NOT NULL,
    proof INTEGER AS (proof(destination, batch, reason, since_ms)) STORED,
    PRIMARY KEY (destination, batch)) WITHOUT ROWID;
-- What became of keys whose records are gone. The oldest are forgotten.
CREATE TABLE outcomes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, outcome TEXT NOT NULL);
-- Deletions that are decided and may not be carried out yet: JSON lists of record numbers, and of files.
CREATE TABLE leaving (id INTEGER PRIMARY KEY AUTOINCREMENT, numbers TEXT NOT NULL, files TEXT NOT NULL,
    proof INTEGER AS (proof(id, numbers, files)) STORED);
-- What survives a restart: `sealed:<stream>` (the last number of the stream that belongs to a batch), `sealed` (up to
-- which all numbers of all streams do), `dropped.<reason>`, `quarantined.<what>`.
CREATE TABLE counters (
    name TEXT PRIMARY KEY, value INTEGER NOT NULL, proof INTEGER AS (proof(name, value)) STORED) WITHOUT ROWID;
"""


def connect(path: Path, schema: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a file of the spool, making it where it is new.

    Every transaction is begun by hand; a commit returns when it is on the disk. Raises SpoolUnusable where the folder
    cannot be used, sqlite3.DatabaseError where the file is damaged.
    """
    try:
        link = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_MS / 1000,
        )
    except sqlite3.OperationalError as error:
        raise SpoolUnusable(f"{path} cannot be opened: {error}", remedy="Allow this service to write there") from None
    try:
        add_functions(link)
        if not read_only:
            link.execute(f"PRAGMA page_size = {PAGE}")
            link.execute("PRAGMA journal_mode = WAL")
        link.execute("PRAGMA synchronous = FULL")
        link.execute("PRAGMA cell_size_check = ON")
        link.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        link.execute(f"PRAGMA journal_size_limit = {2 * _CHECKPOINT_PAGES * PAGE}")
        _migrate(link, path, schema, read_only=read_only)
    except BaseException:
        link.close()
        raise
    return link


def add_functions(link: sqlite3.Connection) -> None:
    """Give a connection what the tables compute: without it they can be read, not written."""
    link.execute("PRAGMA trusted_schema = ON")
    link.create_function("proof", -1, _proof, deterministic=True)


def _proof(*columns: object) -> int:
    """Return the CRC-32 of a row's columns."""
    return zlib.crc32("\0".join(map(str, columns)).encode(errors="surrogateescape"))


def _migrate(link: sqlite3.Connection, path: Path, schema: str, *, read_only: bool) -> None:
    """Bring the file to this version, in one transaction."""
    (version,) = link.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise SpoolUnusable(
            f"{path} has schema {version}; this version of Lineside reads up to {VERSION}",
            remedy="Update this service, or give it another spool.folder",
        )
    if version == VERSION or read_only:
        return
    link.execute("BEGIN IMMEDIATE")
    try:
        (version,) = link.execute("PRAGMA user_version").fetchone()
        if version == 0:
            for statement in schema.split(";"):
                if statement.strip():
                    link.execute(statement)
            link.execute(f"PRAGMA user_version = {VERSION}")
        link.execute("COMMIT")
    except BaseException:
        if link.in_transaction:
            link.execute("ROLLBACK")
        raise
