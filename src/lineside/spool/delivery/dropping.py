"""Drops evidence where the settings allow it: at the spool's bound and by age, counted by reason."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Literal

import structlog

from lineside.spool.store.database import Database
from lineside.spool.store.deleting import Deleting, Leaver, count

_log = structlog.get_logger(__name__)
WhenFull = Literal["refuse", "drop-delivered", "drop-sampled"]
Reason = Literal["delivered", "sampled", "age"]
_CHUNK = 100


@dataclass(frozen=True, slots=True)
class _Home:
    """The batch of a record, None where it has none yet; `may_lose`: it may be dropped from there.

    It may not where part of the batch may be on its way, since it was leased and not answered, nor where the batch is
    delivered and only kept, which is dropped as a whole.
    """

    batch: int | None
    may_lose: bool


class Dropping:
    """Drops evidence where the settings allow it; never what was ever leased and not answered, never `always`."""

    def __init__(self, progress: Database, deleting: Deleting, when_full: WhenFull) -> None:
        self._progress = progress
        self._deleting = deleting
        self._when_full = when_full

    def make_room(self, least: int, wanted: int) -> bool:
        """Drop `wanted` bytes as `spool.when_full` says; nothing where not even `least` may be dropped."""
        if self._when_full == "refuse" or least <= 0:
            return False
        delivered, freed = self._kept(wanted)
        sampled: list[Leaver] = []
        if freed < least and self._when_full == "drop-sampled":
            sampled, more = self._oldest_sampled(wanted - freed)
            freed += more
        if freed < least:
            return False
        return self.drop_kept(delivered, "delivered") + self.drop(sampled, "sampled") > 0

    def drop_kept(self, batches: Sequence[int], reason: Reason | None) -> int:
        """Delete batches that are delivered and only kept; returns how many records went."""
        dropped = 0
        for number in batches:
            with self._progress.writing() as link:
                found = link.execute(
                    "DELETE FROM batches WHERE number = ? AND done_ms > 0 RETURNING numbers", (number,)
                ).fetchall()
                if not found:
                    continue
                leavers = self._deleting.leavers(json.loads(found[0][0]))
                decision = self._deleting.decide(link, leavers)
                if reason is not None:
                    count(link, f"dropped.{reason}", len(leavers))
            self._deleting.carry_out_soon(decision)
            dropped += len(leavers)
        if dropped and reason is not None:
            _log.warning("Delivered evidence makes room", records=dropped)
        return dropped

    def drop(self, leavers: Sequence[Leaver], reason: Reason) -> int:
        """Drop waiting records; returns how many went, without those that were leased meanwhile."""
        if not leavers:
            return 0
        with self._progress.writing() as link:
            homes = _homes(link, leavers)
            going = [leaver for leaver in leavers if homes[leaver.number].may_lose]
            _shrink_batches(link, going, homes)
            self._deleting.remember(link, going, "dropped")
            count(link, f"dropped.{reason}", len(going))
            decision = self._deleting.decide(link, going)
        self._deleting.carry_out_soon(decision)
        if going:
            _log.warning(
                "Sampled evidence is dropped before it was delivered",
                records=len(going),
                bytes=sum(leaver.size for leaver in going),
                reason=reason,
            )
        return len(going)

    def drop_older(self, before_ms: int) -> int:
        """Drop sampled records put before a time; returns how many."""
        dropped = 0
        after = 0
        while chunk := self._deleting.sampled(after):
            after = chunk[-1].number
            old = [leaver for leaver in chunk if leaver.created_ms < before_ms]
            dropped += self.drop(old, "age")
            if len(old) < len(chunk):
                break
        return dropped

    def drop_kept_before(self, before_ms: int) -> int:
        """Delete what was delivered before a time and only kept since; returns how many records."""
        deleted = 0
        while True:
            with self._progress.reading() as link:
                rows = link.execute(
                    "SELECT number FROM batches WHERE done_ms > 0 AND done_ms <= ? ORDER BY done_ms LIMIT ?",
                    (before_ms, _CHUNK),
                ).fetchall()
            deleted += self.drop_kept([number for (number,) in rows], None)
            if len(rows) < _CHUNK:
                return deleted

    def _kept(self, size: int) -> tuple[list[int], int]:
        """Return batches that are delivered and only kept, oldest first, of `size` bytes or of all there is."""
        with self._progress.reading() as link:
            rows = link.execute(
                "SELECT number, size FROM batches WHERE done_ms > 0 ORDER BY done_ms, number LIMIT 10000"
            ).fetchall()
        return _until(size, rows)

    def _oldest_sampled(self, size: int) -> tuple[list[Leaver], int]:
        taken: list[Leaver] = []
        freed = after = 0
        while freed < size and (chunk := self._deleting.sampled(after)):
            after = chunk[-1].number
            with self._progress.reading() as link:
                homes = _homes(link, chunk)
            for leaver in chunk:
                if freed < size and homes[leaver.number].may_lose:
                    taken.append(leaver)
                    freed += leaver.size
        return taken, freed


def _until(size: int, rows: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    taken: list[int] = []
    freed = 0
    for number, more in rows:
        if freed >= size:
            break
        taken.append(number)
        freed += more
    return taken, freed


def _homes(link: Connection, leavers: Sequence[Leaver]) -> dict[int, _Home]:
    """Return the batch of each record."""
    homes: dict[int, _Home] = {}
    for leaver in leavers:
        found = link.execute(
            "SELECT number, numbers, done_ms > 0 OR number IN (SELECT batch FROM leases WHERE attempts > 0) "
            "FROM batches WHERE stream = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (leaver.stream, leaver.number),
        ).fetchone()
        numbers = json.loads(found[1]) if found else []
        inside = leaver.number in numbers
        homes[leaver.number] = _Home(found[0] if inside else None, not (inside and found[2]))
    return homes


def _shrink_batches(link: Connection, leavers: Sequence[Leaver], homes: dict[int, _Home]) -> None:
    """Take records out of the batches that they belong to; a batch with none left is gone."""
    by_batch: dict[int, dict[int, int]] = defaultdict(dict)
    for leaver in leavers:
        if (batch := homes[leaver.number].batch) is not None:
            by_batch[batch][leaver.number] = leaver.size
    for batch, going in by_batch.items():
        (text,) = link.execute("SELECT numbers FROM batches WHERE number = ?", (batch,)).fetchone()
        left = [number for number in json.loads(text) if number not in going]
        if left:
            link.execute(
                "UPDATE batches SET numbers = ?, records = ?, size = size - ? WHERE number = ?",
                (json.dumps(left, separators=(",", ":")), len(left), sum(going.values()), batch),
            )
            continue
        link.execute("DELETE FROM batches WHERE number = ?", (batch,))
        for table in ("dead", "leases"):
            link.execute(f"DELETE FROM {table} WHERE batch = ?", (batch,))  # noqa: S608 - constants
