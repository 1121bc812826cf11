"""Putting records: whoever finds no leader commits for all who wait, in one transaction (group commit)."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from sqlite3 import Connection

import structlog

from lineside.spool.blobs import Blobs
from lineside.spool.database import Database, unusable
from lineside.spool.entry import Entry, Receipt, StoredBlob, blobs_to_text, checksum
from lineside.spool.errors import SpoolError, SpoolFull
from lineside.spool.room import Room

_log = structlog.get_logger(__name__)
_MOST_IN_GROUP = 256
_GATHER_S = 0.0003
_INSERT = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_COUNT = "UPDATE counters SET value = ? WHERE name = ?"
_TOTALS = (".number", ".records", ".bytes")
_REMEDY = "Let the forwarder deliver, raise spool.max_bytes, or change spool.when_full; nothing was kept"

Row = tuple[int, str, str, str, str, str, int, int, int, str, bytes, bytes]


@dataclass(slots=True, eq=False)
class _Put:
    """One call of `put` while it waits for a commit."""

    entry: Entry
    size: int
    text: str
    blobs: tuple[StoredBlob, ...]
    receipt: Receipt | None = None
    error: BaseException | None = None
    lacking: Room | None = None
    woken: threading.Lock = field(default_factory=threading.Lock)

    @property
    def is_answered(self) -> bool:
        return self.receipt is not None or self.error is not None or self.lacking is not None


class Writer:
    """Puts records of one producer into `records.db`."""

    def __init__(
        self,
        records: Database,
        progress: Database,
        blobs: Blobs,
        *,
        producer: str,
        room: Callable[[Connection, int, int], Room],
        make_room: Callable[[int, int], bool],
        wall_ms: Callable[[], int],
    ) -> None:
        """Make a writer.

        `room` says what there is, by a connection to the records, the bytes of evidence there, and those asked for.
        `make_room` drops what may be dropped, at least the first and better the second number of bytes, and returns
        whether it did.
        """
        self._records = records
        self._progress = progress
        self._blobs = blobs
        self._producer = producer
        self._room = room
        self._make_room = make_room
        self._wall_ms = wall_ms
        self._guard = threading.Lock()
        self._pending: list[_Put] = []
        self._is_led = False
        self._expected = 1
        self._bell: threading.Lock | None = None
        self._doubtful: list[tuple[Row, tuple[StoredBlob, ...]]] = []

    def put(self, entry: Entry) -> Receipt:
        """Keep a record; see Spool.put."""
        blobs: tuple[StoredBlob, ...] = ()
        size = len(entry.body) + sum(len(blob.data) for blob in entry.blobs)
        if entry.blobs:
            if (number := self._number_of(entry.key)) is not None:
                return Receipt(number, is_new=False)
            blobs = self._write_blobs(entry, size)
        call = _Put(entry, size, blobs_to_text(blobs), blobs)
        self._commit_with_others(call)
        if call.lacking is not None and self._make_room(*call.lacking.to_free(size, len(entry.body))):
            call.lacking = None
            self._commit_with_others(call)
        if call.receipt is not None:
            if not call.receipt.is_new:
                self._delete_blobs(blobs)
            return call.receipt
        if call.lacking is not None:
            self._delete_blobs(blobs)
            raise SpoolFull(f"The spool is full: {call.lacking.said(size)}", remedy=_REMEDY)
        error = call.error
        if isinstance(error, SpoolError):  # one instance would collect the tracebacks of all who wait
            raise type(error)(error.what, remedy=error.remedy, transient=error.transient) from error
        raise RuntimeError("The thread that committed for others was interrupted") from error

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
        room = self._room_now(size)
        if room.lacks(size, size) > 0 and self._make_room(*room.to_free(size, size)):
            room = self._room_now(size)
        if room.lacks(size, size) > 0:
            raise SpoolFull(f"The spool is full: {room.said(size)}", remedy=_REMEDY)
        try:
            return self._blobs.write(entry.blobs)
        except OSError as error:
            raise unusable(Path(error.filename or "blobs"), error) from error

    def _room_now(self, size: int) -> Room:
        with self._records.reading() as link:
            (used,) = link.execute("SELECT value FROM counters WHERE name = '.bytes'").fetchone()
            return replace(self._room(link, used, size), reusable=0)  # a blob cannot use pages of the records' file

    def _number_of(self, key: str) -> int | None:
        """Return the number of a key that is known, 0 where its record is gone."""
        with self._records.reading() as link:
            return self._known(link, [key]).get(key)

    def _known(self, link: Connection, keys: list[str]) -> dict[str, int]:
        """Return the numbers of keys that are known; 0 where the record is gone."""
        if len(keys) == 1:
            where, values = "= ?", keys[0]
        else:
            where, values = "IN (SELECT value FROM json_each(?))", json.dumps(keys)
        known: dict[str, int] = {}
        records = link.execute(f"SELECT key, number FROM records WHERE key {where}", (values,)).fetchall()  # noqa: S608 - one of two constants
        with self._progress.reading() as progress:
            for (key,) in progress.execute(f"SELECT key FROM outcomes WHERE key {where}", (values,)).fetchall():  # noqa: S608 - same
                known[key] = 0
        known.update(records)
        return known

    def _commit_with_others(self, call: _Put) -> None:
        """Return when the call is answered, by this thread or by another that leads."""
        if not self._leads(call):
            call.woken.acquire()  # answered, or made the leader
            if call.is_answered:
                return
        group = self._gather()
        try:
            self._commit(group)
        except BaseException as error:
            for other in group:
                if not other.is_answered:
                    other.error = error
            if not isinstance(error, SpoolError):
                raise
        finally:
            self._hand_over(len(group))
            for other in group:
                if other is not call:
                    other.woken.release()

    def _leads(self, call: _Put) -> bool:
        """Put a call in line; returns whether nobody leads, so that this thread has to."""
        with self._guard:
            self._pending.append(call)
            if not self._is_led:
                self._is_led = True
                return True
            call.woken.acquire()
            if self._bell is not None and len(self._pending) >= self._expected:
                self._bell.release()
                self._bell = None
            return False

    def _gather(self) -> list[_Put]:
        """Return who waits, after a moment for those of the last group, who come again where the load is high."""
        bell = None
        with self._guard:
            if len(self._pending) < self._expected:
                bell = self._bell = threading.Lock()
                bell.acquire()
        if bell is not None:
            bell.acquire(timeout=_GATHER_S)
        with self._guard:
            self._bell = None
            group, self._pending = self._pending[:_MOST_IN_GROUP], self._pending[_MOST_IN_GROUP:]
        return group

    def _hand_over(self, answered: int) -> None:
        """Make the first who waits the leader."""
        with self._guard:
            self._expected = min(answered + len(self._pending), _MOST_IN_GROUP)
            if self._pending:
                self._pending[0].woken.release()
            else:
                self._is_led = False

    def _commit(self, group: list[_Put]) -> None:
        """Answer every call of a group, each judged for itself; what is kept goes in one transaction."""
        rows: list[Row] = []
        answers: list[Receipt | Room] = []
        kept: list[_Put] = []
        try:
            if self._doubtful:
                self.settle()
            with self._records.writing() as link:
                known = self._known(link, [call.entry.key for call in group])
                counters = dict(link.execute("SELECT name, value FROM counters").fetchall())
                size = sum(call.size for call in group)
                room = self._room(link, counters[".bytes"], size)
                fits = room.lacks(size, size) <= 0
                number, used, now = counters[".number"], counters[".bytes"], self._wall_ms()
                sequence = counters.get(self._producer, 0)
                for call in group:
                    key, to_write = call.entry.key, len(call.entry.body)
                    if key in known:
                        answers.append(Receipt(known[key], is_new=False))
                    elif not fits and room.lacks(call.size, to_write) > 0:
                        answers.append(room)
                    else:
                        used += call.size
                        if not fits:
                            room = room.after(call.size, to_write)
                        number, sequence = number + 1, sequence + 1
                        known[key] = number
                        rows.append(_row(call, number, self._producer, sequence, now))
                        kept.append(call)
                        answers.append(Receipt(number, is_new=True))
                if rows:
                    counters |= {".number": number, self._producer: sequence, ".bytes": used}
                    counters[".records"] += len(rows)
                    self._insert(link, rows, counters)
        except BaseException:
            self._take_back(group, rows, kept)
            raise
        for call, answer in zip(group, answers, strict=True):
            if isinstance(answer, Receipt):
                call.receipt = answer
            else:
                call.lacking = answer

    def _insert(self, link: Connection, rows: list[Row], counters: dict[str, int]) -> None:
        link.executemany(_INSERT, rows)
        if counters[self._producer] == len(rows):
            link.execute("INSERT OR IGNORE INTO counters VALUES (?, 0)", (self._producer,))
        link.executemany(_COUNT, [(counters[name], name) for name in (*_TOTALS, self._producer)])

    def _take_back(self, group: list[_Put], rows: list[Row], kept: list[_Put]) -> None:
        """Remove what a failed group left: its commit may be in the log, and would come back at the next start."""
        for call in group:
            if call not in kept:
                self._delete_blobs(call.blobs)
        if rows:
            with self._guard:
                self._doubtful += [(row, call.blobs) for row, call in zip(rows, kept, strict=True)]
            try:
                self.settle()
            except SpoolError as error:
                _log.warning("A failed commit is taken back later", records=len(rows), error=str(error))

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
