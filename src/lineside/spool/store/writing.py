"""Writes records by group commit: one thread commits for all that wait, in one transaction."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from sqlite3 import Connection, IntegrityError

import structlog

from lineside.spool.errors import SpoolError, SpoolFull
from lineside.spool.store.blobs import Blobs
from lineside.spool.store.capacity import Capacity
from lineside.spool.store.database import Database, unusable
from lineside.spool.store.entry import Entry, Receipt, StoredBlob, blobs_to_text, checksum
from lineside.spool.store.group_commit import Call, GroupCommit
from lineside.spool.store.key_filter import KeyFilter

_log = structlog.get_logger(__name__)
_INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COUNT = "UPDATE counters SET value = ? WHERE name = ?"
_OUTCOMES_AFTER = "SELECT number, key FROM outcomes WHERE number > ? ORDER BY number LIMIT 1000"
_COUNTERS = "SELECT name, value FROM counters"
_REMEDY = "Let the forwarder deliver, raise spool.max_bytes, or change spool.when_full; nothing was kept"

Row = tuple[int, str, str, str, str, str, int, int, int, str, bytes, bytes]


class _Put(Call):
    """One call of `put` while it waits for a commit."""

    __slots__ = ("blobs", "entry", "lacking", "receipt", "size", "text")

    def __init__(self, entry: Entry, size: int, blobs: tuple[StoredBlob, ...]) -> None:
        super().__init__()
        self.entry = entry
        self.size = size
        self.blobs = blobs
        self.text = blobs_to_text(blobs)
        self.receipt: Receipt | None = None
        self.lacking: Capacity | None = None


class Writer:
    """Puts records of one producer into `records.db`."""

    def __init__(
        self,
        records: Database,
        progress: Database,
        blobs: Blobs,
        *,
        producer: str,
        capacity: Callable[[Connection, int, int], Capacity],
        make_room: Callable[[int, int], bool],
        wall_ms: Callable[[], int],
    ) -> None:
        """Make a writer.

        `capacity` returns what there is, given a connection to the records, the bytes of evidence there, and those
        asked for.
        `make_room` drops what may be dropped, at least the first and better the second number of bytes, and returns
        whether it did.
        """
        self._records = records
        self._progress = progress
        self._blobs = blobs
        self._producer = producer
        self._capacity = capacity
        self._make_room = make_room
        self._wall_ms = wall_ms
        self._deleted_keys = KeyFilter()
        self._group = GroupCommit(self._commit)
        self._guard = threading.Lock()
        self._doubtful: list[tuple[Row, tuple[StoredBlob, ...]]] = []

    def put(self, entry: Entry) -> Receipt:
        """Keep a record; see Spool.put."""
        blobs: tuple[StoredBlob, ...] = ()
        size = len(entry.body) + sum(len(blob.data) for blob in entry.blobs)
        if entry.blobs:
            if (number := self._number_of(entry.key)) is not None:
                return Receipt(number, is_new=False)
            blobs = self._write_blobs(entry, size)
        call = _Put(entry, size, blobs)
        self._group.join(call)
        if call.lacking is not None and self._make_room(*call.lacking.to_free(size, len(entry.body))):
            call = _Put(entry, size, blobs)
            self._group.join(call)
        if call.receipt is not None:
            if not call.receipt.is_new:
                self._delete_blobs(blobs)
            return call.receipt
        if call.lacking is not None:
            self._delete_blobs(blobs)
            raise SpoolFull(f"The spool is full: {call.lacking.describe(size)}", remedy=_REMEDY)
        error = call.error
        if isinstance(error, SpoolError):  # one instance would collect the tracebacks of all threads
            raise type(error)(error.what, remedy=error.remedy, transient=error.transient) from error
        raise RuntimeError("The thread that committed for others was interrupted") from error

    def start_over(self) -> None:
        """Forget what is known of the files: they are about to be repaired."""
        self._deleted_keys.start_over()

    def settle(self) -> None:
        """Take back what a failed commit may have left; raises SpoolError where that fails too."""
        with self._guard:
            doubtful, self._doubtful = self._doubtful, []
        if not doubtful:
            return
        try:
            with self._records.writing() as link:
                for row, _blobs in doubtful:
                    found = link.execute("DELETE FROM records WHERE number = ? AND checksum = ?", (row[0], row[10]))
                    if found.rowcount:
                        link.execute("UPDATE counters SET value = value - 1 WHERE name = '.records'")
                        link.execute("UPDATE counters SET value = value - ? WHERE name = '.bytes'", (row[8],))
        except BaseException:
            with self._guard:
                self._doubtful += doubtful
            raise
        for _row, blobs in doubtful:
            self._delete_blobs(blobs)

    def _write_blobs(self, entry: Entry, size: int) -> tuple[StoredBlob, ...]:
        """Write an entry's blobs, where there is room for all of it."""
        capacity = self._capacity_now(size)
        if capacity.lacks(size, size) > 0 and self._make_room(*capacity.to_free(size, size)):
            capacity = self._capacity_now(size)
        if capacity.lacks(size, size) > 0:
            raise SpoolFull(f"The spool is full: {capacity.describe(size)}", remedy=_REMEDY)
        try:
            return self._blobs.write(entry.blobs)
        except OSError as error:
            raise unusable(Path(error.filename or "blobs"), error) from error

    def _capacity_now(self, size: int) -> Capacity:
        with self._records.reading() as link:
            (used,) = link.execute("SELECT value FROM counters WHERE name = '.bytes'").fetchone()
            return replace(self._capacity(link, used, size), reusable=0)  # a blob cannot use pages of the records' file

    def _number_of(self, key: str) -> int | None:
        """Return the number of a key that is known, 0 where its record is deleted."""
        with self._records.reading() as link:
            return self._known(link, [key]).get(key)

    def _known(self, link: Connection, keys: list[str]) -> dict[str, int]:
        """Return the numbers of keys that are known; 0 where the record is deleted."""
        known = dict.fromkeys(self._find_deleted(keys), 0)
        known.update(
            link.execute(
                "SELECT key, number FROM records WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
            ).fetchall()
        )
        return known

    def _deleted_of(self, group: list[_Put], left: int) -> list[str]:
        """Return the keys of a group of deleted records; `left` is how many records ever left."""
        keys = self._deleted_keys
        if keys.left != left:  # every deletion is written down in `outcomes` first
            if keys.is_full:
                keys.start_over()
            with self._progress.reading() as link:
                while rows := link.execute(_OUTCOMES_AFTER, (keys.last,)).fetchall():
                    keys.add(left, rows)
            keys.left = left
        doubtful = [call.entry.key for call in group if keys.may_have(call.entry.key)]
        return self._find_deleted(doubtful) if doubtful else doubtful

    def _find_deleted(self, keys: list[str]) -> list[str]:
        """Return the keys of deleted records."""
        with self._progress.reading() as link:
            if len(keys) == 1:
                found = link.execute("SELECT key FROM outcomes WHERE key = ?", keys)
            else:
                found = link.execute(
                    "SELECT key FROM outcomes WHERE key IN (SELECT value FROM json_each(?))", (json.dumps(keys),)
                )
            return [key for (key,) in found.fetchall()]

    def _commit(self, group: list[_Put]) -> None:
        """Answer every call of a group, each judged for itself; what is kept goes in one transaction."""
        kept: list[tuple[Row, _Put]] = []
        try:
            if self._doubtful:
                self.settle()
            with self._records.writing() as link:
                answers = self._keep_all(link, group, kept) or self._judge(link, group, kept)
        except BaseException:
            self._take_back(group, kept)
            raise
        for call, answer in zip(group, answers, strict=True):
            if isinstance(answer, Receipt):
                call.receipt = answer
            else:
                call.lacking = answer
            call.is_answered = True

    def _keep_all(self, link: Connection, group: list[_Put], kept: list[tuple[Row, _Put]]) -> list[Receipt] | None:
        """Keep a whole group, which is the rule; None where a key is known, or there is no room for all."""
        size = sum(call.size for call in group)
        counters: dict[str, int] = dict(link.execute(_COUNTERS).fetchall())
        if self._capacity(link, counters[".bytes"], size).lacks(size, size) > 0:
            return None
        if self._deleted_of(group, counters[".number"] - counters[".records"]):
            return None
        number, sequence = counters[".number"], counters.get(self._producer, 0)
        now = self._wall_ms()
        producer = self._producer
        rows = [_row(call, number + place, producer, sequence + place, now) for place, call in enumerate(group, 1)]
        kept[:] = zip(rows, group, strict=True)
        try:
            self._insert(link, rows, counters, size)
        except IntegrityError:  # a key is known: cheaper to be told than to ask
            link.execute("ROLLBACK")
            kept.clear()
            link.execute("BEGIN IMMEDIATE")
            return None
        return [Receipt(row[0], is_new=True) for row in rows]

    def _judge(self, link: Connection, group: list[_Put], kept: list[tuple[Row, _Put]]) -> list[Receipt | Capacity]:
        """Keep what of a group is new and fits."""
        known = self._known(link, [call.entry.key for call in group])
        counters: dict[str, int] = dict(link.execute(_COUNTERS).fetchall())
        capacity = self._capacity(link, counters[".bytes"], sum(call.size for call in group))
        number, sequence, now = counters[".number"], counters.get(self._producer, 0), self._wall_ms()
        answers: list[Receipt | Capacity] = []
        for call in group:
            key, to_write = call.entry.key, len(call.entry.body)
            if key in known:
                answers.append(Receipt(known[key], is_new=False))
            elif capacity.lacks(call.size, to_write) > 0:
                answers.append(capacity)
            else:
                capacity = capacity.after(call.size, to_write)
                number, sequence = number + 1, sequence + 1
                known[key] = number
                kept.append((_row(call, number, self._producer, sequence, now), call))
                answers.append(Receipt(number, is_new=True))
        if kept:
            self._insert(link, [row for row, _call in kept], counters, sum(call.size for _row, call in kept))
        return answers

    def _insert(self, link: Connection, rows: list[Row], counters: dict[str, int], size: int) -> None:
        many = len(rows)
        link.executemany(_INSERT, rows)
        if self._producer not in counters:
            link.execute("INSERT INTO counters VALUES (?, 0)", (self._producer,))
        more = ((".number", many), (".records", many), (".bytes", size), (self._producer, many))
        link.executemany(_COUNT, [(counters.get(name, 0) + by, name) for name, by in more])

    def _take_back(self, group: list[_Put], kept: list[tuple[Row, _Put]]) -> None:
        """Remove what a failed group left: its commit may be in the log, and would come back at the next start."""
        wrote = {id(call) for _row, call in kept}
        for call in group:
            if id(call) not in wrote:
                self._delete_blobs(call.blobs)
        if kept:
            with self._guard:
                self._doubtful += [(row, call.blobs) for row, call in kept]
            try:
                self.settle()
            except SpoolError as error:
                _log.warning("A failed commit is taken back later", records=len(kept), error=str(error))

    def _delete_blobs(self, blobs: tuple[StoredBlob, ...]) -> None:
        try:
            self._blobs.delete(blob.file for blob in blobs)
        except OSError as error:
            _log.warning("A blob without a record stays until the next start", error=str(error))


def _row(call: _Put, number: int, producer: str, sequence: int, now: int) -> Row:
    entry = call.entry
    start = (number, entry.key, entry.stream, entry.folder, entry.kept, producer, sequence, now)
    digest = checksum((*start, call.text, entry.body))
    return (*start, call.size, call.text, digest, entry.body)
