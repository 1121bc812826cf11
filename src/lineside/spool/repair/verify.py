"""Reads everything in a spool and reports what is damaged or missing; changes nothing, also while services run."""

import hashlib
import json
import sqlite3
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineside.spool.repair.integrity import faults
from lineside.spool.store import wal
from lineside.spool.store.blobs import FOLDER as BLOBS
from lineside.spool.store.entry import StoredBlob, blobs_from_text, checksum
from lineside.spool.store.schema import PROGRESS, PROGRESS_SCHEMA, RECORDS, RECORDS_SCHEMA, connect

_MAX_SAID = 100
_ROWS = 200
_CHUNK = 1024 * 1024
_YOUNG_S = 600.0
_COLUMNS = "key, stream, folder, kept, producer, sequence, created_ms, blobs"
_REMEDY = "What is damaged is set aside and the rest delivered as it is met; check the disk"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is damaged or missing: a file, record, blob or batch, which one, and how."""

    about: str
    which: str
    what: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was read, and what of it is damaged or missing.

    `problems` holds the first 100 of `found`. `leftovers` are files of puts that were cut off, which hold no evidence
    and go at the next start of the services.
    """

    records: int
    blobs: int
    bytes: int
    batches: int
    leftovers: int
    found: int
    problems: tuple[Problem, ...]
    remedy: str

    @property
    def is_well(self) -> bool:
        """Whether nothing is damaged or missing."""
        return self.found == 0


def verify(folder: Path) -> Report:
    """Read every record, blob and batch; memory stays flat. Raises SpoolUnusable, OSError where the folder fails."""
    return _Reader(folder).report()


class _Reader:
    """One reading of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._problems: list[Problem] = []
        self._found = 0
        self._records = self._bytes = self._blobs = self._batches = self._leftovers = 0
        self._named = array("Q")

    def report(self) -> Report:
        for name, schema in ((RECORDS, RECORDS_SCHEMA), (PROGRESS, PROGRESS_SCHEMA)):
            self._file(name, schema)
        self._read(RECORDS, RECORDS_SCHEMA, self._rows)
        self._read(RECORDS, RECORDS_SCHEMA, self._totals)
        self._read(PROGRESS, PROGRESS_SCHEMA, self._progress)
        self._count_leftovers()
        return Report(
            records=self._records,
            blobs=self._blobs,
            bytes=self._bytes,
            batches=self._batches,
            leftovers=self._leftovers,
            found=self._found,
            problems=tuple(self._problems),
            remedy=_REMEDY if self._found else "",
        )

    def _say(self, about: str, which: object, what: str) -> None:
        self._found += 1
        if len(self._problems) < _MAX_SAID:
            self._problems.append(Problem(about, str(which), what))

    def _file(self, name: str, schema: str) -> None:
        """Let SQLite check a file, and check what it would not notice."""
        if wal.read(self._folder / f"{name}-wal").is_damaged:
            # A service that writes meanwhile is in the middle of a frame now and then, not twice at the same place.
            time.sleep(0.1)
            if wal.read(self._folder / f"{name}-wal").is_damaged:
                self._say("file", f"{name}-wal", "its log is damaged")

        def check(link: sqlite3.Connection) -> None:
            for what in faults(link):
                self._say("file", name, what)

        self._read(name, schema, check)

    def _read(self, name: str, schema: str, work: Callable[[sqlite3.Connection], object]) -> None:
        try:
            with closing(connect(self._folder / name, schema, read_only=True)) as link:
                work(link)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._say("file", name, str(error))

    def _rows(self, link: sqlite3.Connection) -> None:
        """Read every record with its blobs."""
        link.text_factory = _lossless
        last, sequences = 0, dict[str, int]()
        while rows := link.execute(_SELECT, (last, _ROWS)).fetchall():
            for row in rows:
                number, producer, sequence = row[0], row[5], row[6]
                last = number
                self._records += 1
                self._bytes += row[10]
                blobs = _proven(row)
                if blobs is None:
                    self._say("record", number, "it is not what was written")
                    continue
                if sequence <= sequences.get(producer, 0):
                    self._say("record", number, f"sequence {sequence} of {producer!r} came before")
                sequences[producer] = sequence
                for blob in blobs:
                    self._blob(number, blob)

    def _blob(self, number: int, blob: StoredBlob) -> None:
        self._blobs += 1
        self._named.append(_name(blob.file))
        digest = hashlib.sha256()
        try:
            with (self._folder / blob.file).open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            if self._still_there(number):
                self._say("blob", blob.file, f"it is gone; record {number} names it")
            return
        if digest.digest() != blob.digest and self._still_there(number):
            self._say("blob", blob.file, f"it is not what was written; record {number} names it")

    def _still_there(self, number: int) -> bool:
        """Return whether a record was not delivered meanwhile."""
        with closing(connect(self._folder / RECORDS, RECORDS_SCHEMA, read_only=True)) as link:
            return link.execute("SELECT 1 FROM records WHERE number = ?", (number,)).fetchone() is not None

    def _totals(self, link: sqlite3.Connection) -> None:
        """Compare the totals with what is there, in one statement each: others write meanwhile."""
        for name, what in (
            (".records", "count(*)"),
            (".bytes", "coalesce(sum(size), 0)"),
            (".number", "coalesce(max(number), 0)"),
        ):
            said, found = link.execute(
                f"SELECT (SELECT value FROM counters WHERE name = ?), {what} FROM records",  # noqa: S608 - constants
                (name,),
            ).fetchone()
            if said is None or said < found or (said != found and name != ".number"):
                self._say("file", RECORDS, f"its total {name} says {said}, there is {found}")

    def _progress(self, link: sqlite3.Connection) -> None:
        """Check that every batch has its records, and that no destination is beyond the last batch."""
        (last,) = link.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'batches'").fetchone()
        for destination, stream, batch in link.execute("SELECT destination, stream, batch FROM progress"):
            if batch > last:
                self._say("destination", destination, f"it is at batch {batch} of {stream!r}; the last is {last}")
        with closing(connect(self._folder / RECORDS, RECORDS_SCHEMA, read_only=True)) as records:
            for number, numbers in _batches(link):
                self._batches += 1
                missing = _missing(records, numbers)
                if missing and missing & set(_numbers(link, number)):  # else it was delivered meanwhile
                    self._say("batch", number, f"{len(missing)} of its {len(numbers)} records are gone")

    def _count_leftovers(self) -> None:
        self._named = array("Q", sorted(self._named))
        old = time.time() - _YOUNG_S
        for path in (self._folder / BLOBS).glob("??/*"):
            name = _name(path.name)
            place = bisect_left(self._named, name)
            if place < len(self._named) and self._named[place] == name and path.suffix == ".blob":
                continue
            try:
                self._leftovers += path.stat().st_mtime < old
            except FileNotFoundError:
                continue


_SELECT = f"SELECT number, {_COLUMNS}, body, size, checksum FROM records WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608 - constants


def _lossless(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _proven(row: tuple[Any, ...]) -> tuple[StoredBlob, ...] | None:
    """Return the blobs of a row that is what was written, else None."""
    try:
        blobs = blobs_from_text(row[8])
        is_whole = checksum(row[:10]) == row[11] and row[10] == len(row[9]) + sum(blob.size for blob in blobs)
    except (TypeError, ValueError):
        return None
    return blobs if is_whole else None


def _name(file: str) -> int:
    """Return eight bytes of a blob's name, which is random."""
    return int(hashlib.sha256(Path(file).name.encode()).hexdigest()[:16], 16)


def _batches(link: sqlite3.Connection) -> Iterator[tuple[int, list[int]]]:
    last = 0
    while rows := link.execute(
        "SELECT number, numbers FROM batches WHERE number > ? ORDER BY number LIMIT ?", (last, _ROWS)
    ).fetchall():
        for number, numbers in rows:
            last = number
            yield number, json.loads(numbers)


def _numbers(link: sqlite3.Connection, batch: int) -> list[int]:
    """Return the numbers of a batch now, without those that are leaving."""
    row = link.execute("SELECT numbers FROM batches WHERE number = ?", (batch,)).fetchone()
    leaving = {number for (number,) in link.execute("SELECT value FROM leaving, json_each(leaving.numbers)")}
    return [number for number in json.loads(row[0]) if number not in leaving] if row else []


def _missing(link: sqlite3.Connection, numbers: list[int]) -> set[int]:
    found = link.execute(
        "SELECT number FROM records WHERE number IN (SELECT value FROM json_each(?))", (json.dumps(numbers),)
    )
    return set(numbers) - {number for (number,) in found}
