"""Reads records and blobs and checks each; a damaged one is moved to quarantine and counted, the rest is returned."""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import Any, BinaryIO

import structlog

from lineside.spool.errors import SpoolDamaged, SpoolUnusable
from lineside.spool.store import quarantine
from lineside.spool.store.blobs import Blobs
from lineside.spool.store.database import Database, unusable
from lineside.spool.store.deleting import Deleting, Leaver
from lineside.spool.store.entry import Record, StoredBlob, blobs_from_text, checksum
from lineside.spool.store.values import Outcome

_log = structlog.get_logger(__name__)
_CHUNK = 64
_COLUMNS = "number, key, stream, folder, kept, producer, sequence, created_ms, blobs, body, checksum, size"


class Reading:
    """Reads what was put."""

    def __init__(self, folder: Path, records: Database, progress: Database, blobs: Blobs, deleting: Deleting) -> None:
        self._folder = folder
        self._records = records
        self._progress = progress
        self._blobs = blobs
        self._deleting = deleting

    def read(self, numbers: Sequence[int]) -> list[Record]:
        """Return these records, in order, without those that are gone or damaged."""
        with self._records.reading() as link:
            rows = link.execute(
                f"SELECT {_COLUMNS} FROM records WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number",  # noqa: S608 - a constant
                (json.dumps(numbers),),
            ).fetchall()
        if len(rows) < len(numbers):
            self._account_for(set(numbers) - {row[0] for row in rows})
        return self._whole(rows)

    def iterate(self) -> Iterator[Record]:
        """Yield all records that wait, oldest first, in bounded memory."""
        number = 0
        while True:
            with self._records.reading() as link:
                rows = link.execute(
                    f"SELECT {_COLUMNS} FROM records WHERE number > ? ORDER BY number LIMIT ?",  # noqa: S608 - a constant
                    (number, _CHUNK),
                ).fetchall()
            if not rows:
                return
            number = rows[-1][0]
            with self._progress.reading() as link:
                keeps = link.execute("SELECT 1 FROM batches WHERE done_ms > 0 LIMIT 1").fetchone()
                waiting = [row for row in rows if not (keeps and _batch_of(link, row[2], row[0])[1])]
            yield from self._whole(waiting)

    def find(self, key: str) -> Outcome | None:
        """Return what became of a key."""
        with self._records.reading() as link:
            record = link.execute("SELECT number, stream FROM records WHERE key = ?", (key,)).fetchone()
        with self._progress.reading() as link:
            outcome = link.execute("SELECT outcome FROM outcomes WHERE key = ?", (key,)).fetchone()
            if outcome is not None:
                found: Outcome = outcome[0]
                return found
            if record is None:
                return None
            batch, _is_kept = _batch_of(link, record[1], record[0])
            dead = link.execute("SELECT 1 FROM dead WHERE batch = ?", (batch,)).fetchone()
        return "dead" if dead else "waiting"

    def open_blob(self, blob: StoredBlob) -> BinaryIO:
        """Open a blob that is as it was written; raises SpoolDamaged where it is not."""
        try:
            file = self._blobs.open(blob)
            if file is not None:
                return file
            kept = quarantine.keep_blob(self._folder, blob)
        except OSError as error:
            raise unusable(self._folder / blob.file, error) from error
        with self._progress.writing() as link:
            quarantine.count(link, "blob")
        _log.error("A blob is damaged", blob=blob.name, file=str(kept) if kept else "gone", size=blob.size)
        raise SpoolDamaged(
            f"Blob {blob.name} is not what was written", remedy="Its record is delivered without it; check the disk"
        )

    def delete_orphans(self, found: Collection[str]) -> None:
        """Delete those of the files in `blobs` that no record names; not of a put that may still be under way."""
        named: set[str] = set()
        number = 0
        while True:
            with self._records.reading() as link:
                rows = link.execute(
                    "SELECT number, blobs FROM records WHERE blobs <> '' AND number > ? ORDER BY number LIMIT 1000",
                    (number,),
                ).fetchall()
            if not rows:
                break
            number = rows[-1][0]
            named.update(blob.file for _number, text in rows for blob in blobs_from_text(text))
        cut_off = [file for file in found if file not in named]
        try:
            self._blobs.delete(cut_off)
        except OSError as error:
            raise unusable(self._folder, error) from error
        if cut_off:
            _log.info("Blobs without a record are deleted: their put was cut off", files=len(cut_off))

    def _whole(self, rows: Sequence[tuple[Any, ...]]) -> list[Record]:
        """Return the records of rows, and set the damaged aside."""
        records: list[Record] = []
        damaged: list[tuple[Any, ...]] = []
        for row in rows:
            record = _record(row)
            if record is None:
                damaged.append(row)
            else:
                records.append(record)
        if damaged:
            self._set_aside(damaged)
        return records

    def _account_for(self, missing: set[int]) -> None:
        """Find out why records are missing: deleted meanwhile, the file is damaged, or they are lost."""
        with self._progress.reading() as link:
            lost = quarantine.still_expected(link, missing)
        if not lost:
            return
        self._trust_the_file()
        with self._progress.writing() as link:
            lost &= quarantine.still_expected(link, lost)
            quarantine.count(link, "lost", len(lost))
            quarantine.take_out(link, dict.fromkeys(lost, 0))
        _log.error("Records are lost", records=len(lost), first=min(lost, default=0), remedy="check the disk")

    def _trust_the_file(self) -> None:
        """Check a file that gave something wrong; raises SpoolUnusable, and has it repaired, where more is damaged."""
        with self._records.reading() as link:
            (said,) = link.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            quarantine.request_repair(self._folder, said)
            raise SpoolUnusable(
                f"{self._records.path} is damaged: {said}", remedy="It is repaired as soon as nobody has it open"
            )

    def _set_aside(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._trust_the_file()
        names = [name.strip() for name in _COLUMNS.split(",")]
        try:
            for row in rows:
                quarantine.keep_row(self._folder, f"record-{row[0]}", dict(zip(names, row, strict=True)))
        except OSError as error:
            raise unusable(self._folder, error) from error
        with self._progress.writing() as link:
            quarantine.count(link, "record", len(rows))
            quarantine.take_out(link, {row[0]: row[-1] for row in rows})
            decision = self._deleting.decide(link, [Leaver(row[0], "", "", 0, 0, ()) for row in rows])
        self._deleting.carry_out(decision)
        _log.error(
            "Damaged records are set aside in the folder quarantine",
            records=len(rows),
            first=rows[0][0],
            remedy="check the disk; lineside spool verify",
        )


def _record(row: tuple[Any, ...]) -> Record | None:
    """Return a record from its columns; None where they are not what was written."""
    try:
        if checksum(row[:10]) != row[10]:
            return None
        number, key, stream, folder, kept, producer, sequence, created_ms, text, body = row[:10]
        blobs = blobs_from_text(text)
    except (TypeError, ValueError):
        return None
    return Record(number, key, stream, folder, kept, producer, sequence, created_ms, body, blobs)


def _batch_of(link: Connection, stream: str, number: int) -> tuple[int | None, bool]:
    """Return a record's batch, and whether that is delivered and only kept; None where it has none yet."""
    found = link.execute(
        "SELECT number, numbers, done_ms FROM batches WHERE stream = ? AND first <= ? ORDER BY first DESC LIMIT 1",
        (stream, number),
    ).fetchone()
    if found is None or number not in json.loads(found[1]):
        return None, False
    return found[0], found[2] > 0
