"""Deletes records: first the decision is written to `progress.db`, then the records are deleted, last their blobs.

Until all is done the decision stands in the table `leaving`, so that the next sweep finishes what a kill interrupted.
"""

import json
import threading
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import NamedTuple

import structlog

from lineside.spool.errors import SpoolError, SpoolFull
from lineside.spool.store.blobs import Blobs
from lineside.spool.store.database import Database, unusable
from lineside.spool.store.entry import blobs_from_text
from lineside.spool.store.values import Outcome

_log = structlog.get_logger(__name__)
REMEMBERED = 100_000
_CHUNK = 500


class Leaver(NamedTuple):
    """A record that is to be deleted."""

    number: int
    key: str
    stream: str
    size: int
    created_ms: int
    files: tuple[str, ...]


class Deleting:
    """Deletes records and their blobs once that is decided."""

    def __init__(
        self, records: Database, progress: Database, blobs: Blobs, relieve: Callable[[], None] = lambda: None
    ) -> None:
        """Make it; `relieve` is called where the disk is full, before the second try."""
        self._relieve = relieve
        self.is_tight = False
        self._records = records
        self._progress = progress
        self._blobs = blobs
        self._guard = threading.Lock()
        self._carried_out: list[int] = []

    def leavers(self, numbers: Sequence[int]) -> list[Leaver]:
        """Return those of these records that are still there."""
        with self._records.reading() as link:
            rows = link.execute(
                "SELECT number, key, stream, size, created_ms, blobs FROM records "
                "WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number",
                (json.dumps(numbers),),
            ).fetchall()
        return [_leaver(row) for row in rows]

    def sampled(self, after: int) -> list[Leaver]:
        """Return some sampled records with numbers above `after`, oldest first; none: there are no more."""
        with self._records.reading() as link:
            rows = link.execute(
                "SELECT number, key, stream, size, created_ms, blobs FROM records "
                "WHERE kept = 'sampled' AND number > ? ORDER BY number LIMIT ?",
                (after, _CHUNK),
            ).fetchall()
        return [_leaver(row) for row in rows]

    def remember(self, link: Connection, leavers: Sequence[Leaver], outcome: Outcome) -> None:
        """Write down what became of records, and forget the oldest that are gone.

        On a full disk as many are forgotten as are written down, so that the file need not grow.
        """
        if self.is_tight:
            link.execute(
                "DELETE FROM outcomes WHERE number IN (SELECT number FROM outcomes ORDER BY number LIMIT ?)",
                (len(leavers),),
            )
        link.executemany(
            "INSERT INTO outcomes (key, outcome) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET outcome = excluded.outcome",
            [(leaver.key, outcome) for leaver in leavers],
        )
        link.execute("DELETE FROM outcomes WHERE number <= (SELECT max(number) FROM outcomes) - ?", (REMEMBERED,))

    def decide(self, link: Connection, leavers: Sequence[Leaver]) -> int:
        """Write down, in a transaction of `progress.db`, that records go; returns what `carry_out` needs."""
        with self._guard:
            done, self._carried_out = self._carried_out, []
        # A transaction that is rolled back after this forgets to remove these rows; they are carried out again then.
        link.executemany("DELETE FROM leaving WHERE id = ?", [(number,) for number in done])
        found = link.execute(
            "INSERT INTO leaving (numbers, files) VALUES (?, ?) RETURNING id",
            (
                json.dumps([leaver.number for leaver in leavers]),
                json.dumps([file for leaver in leavers for file in leaver.files]),
            ),
        ).fetchall()
        return int(found[0][0])

    def carry_out(self, decision: int) -> int:
        """Delete what was decided; returns how many records. Repeating it does no harm."""
        with self._progress.reading() as link:
            found = link.execute("SELECT numbers, files FROM leaving WHERE id = ?", (decision,)).fetchone()
        if found is None:
            return 0
        numbers, files = json.loads(found[0]), json.loads(found[1])
        deleted = self._delete(numbers) if numbers else 0
        try:
            self._blobs.delete(files)
        except OSError as error:
            raise unusable(self._records.path.parent, error) from error
        with self._guard:
            self._carried_out.append(decision)
        return deleted

    def start_over(self) -> None:
        """Forget what was carried out: the files were repaired."""
        with self._guard:
            self._carried_out.clear()

    def carry_out_soon(self, decision: int) -> int:
        """Delete what was decided, now or, where the disk fails, at the next sweep; returns how many records went."""
        try:
            try:
                return self.carry_out(decision)
            except SpoolFull:
                self._relieve()
                return self.carry_out(decision)
        except SpoolError as error:
            _log.warning("What is delivered or dropped is deleted later", error=str(error))
            return 0

    def finish(self) -> int:
        """Carry out all that was decided and is not done, by whomever; returns how many records were left over."""
        deleted = 0
        with self._progress.reading() as link:
            decisions = [row[0] for row in link.execute("SELECT id FROM leaving ORDER BY id").fetchall()]
        with self._guard:
            left = [number for number in decisions if number not in self._carried_out]
        for decision in left:
            deleted += self.carry_out(decision)
        with self._guard:
            done, self._carried_out = self._carried_out, []
        if done:
            with self._progress.writing(durable=False) as link:
                link.executemany("DELETE FROM leaving WHERE id = ?", [(number,) for number in done])
        return deleted

    def _delete(self, numbers: list[int]) -> int:
        """Delete records; on a full disk in ever smaller parts, for the log has to hold a part as a whole."""
        try:
            return self._delete_at_once(numbers)
        except SpoolFull:
            if len(numbers) == 1:
                raise
        self._relieve()
        half = len(numbers) // 2
        return self._delete(numbers[:half]) + self._delete(numbers[half:])

    def _delete_at_once(self, numbers: list[int]) -> int:
        with self._records.writing() as link:
            gone = link.execute(
                "DELETE FROM records WHERE number IN (SELECT value FROM json_each(?)) RETURNING size",
                (json.dumps(numbers),),
            ).fetchall()
            if gone:
                link.execute("UPDATE counters SET value = value - ? WHERE name = '.records'", (len(gone),))
                link.execute(
                    "UPDATE counters SET value = max(0, value - ?) WHERE name = '.bytes'",
                    (sum(size for (size,) in gone),),
                )
        return len(gone)


def count(link: Connection, name: str, more: int) -> None:
    """Add to a counter of `progress.db`."""
    link.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
        (name, more),
    )


def _leaver(row: tuple[int, str, str, int, int, str]) -> Leaver:
    number, key, stream, size, created_ms, blobs = row
    return Leaver(number, key, stream, size, created_ms, tuple(blob.file for blob in blobs_from_text(blobs)))
