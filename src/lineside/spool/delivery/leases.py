"""The progress of each destination: what it has, what is leased for it, and its dead letters."""

from collections.abc import Callable, Collection, Sequence
from sqlite3 import Connection

import structlog

from lineside.spool.delivery.sealing import BATCH, batch_of
from lineside.spool.errors import LeaseLost
from lineside.spool.store.database import Database
from lineside.spool.store.deleting import Deleting
from lineside.spool.store.values import DeadLetter, Lease

_log = structlog.get_logger(__name__)
_CHUNK = 200
# The first batch of every stream that a destination does not have; streams are found by jumps in the index.
_NEXT = """
WITH RECURSIVE streams (stream) AS (
    SELECT min(stream) FROM batches
    UNION ALL
    SELECT (SELECT min(stream) FROM batches WHERE stream > streams.stream) FROM streams WHERE stream IS NOT NULL)
SELECT (SELECT min(number) FROM batches WHERE batches.stream = streams.stream AND number > coalesce(
    (SELECT batch FROM progress WHERE destination = ? AND progress.stream = streams.stream), 0)) AS number, stream
FROM streams WHERE stream IS NOT NULL AND number IS NOT NULL
"""


class Delivery:
    """Batches on their way to destinations, for one owner of leases, a process."""

    def __init__(
        self,
        progress: Database,
        deleting: Deleting,
        *,
        owner: Callable[[], str],
        is_alive: Callable[[str], bool],
        refusals: int,
        keeps: bool,
        wall_ms: Callable[[], int],
    ) -> None:
        """Make it; `keeps` says whether what all destinations have stays for a while."""
        self._progress = progress
        self._deleting = deleting
        self._owner = owner
        self._is_alive = is_alive
        self._refusals = refusals
        self._keeps = keeps
        self._wall_ms = wall_ms

    def register(self, destinations: Sequence[str]) -> list[str]:
        """Make destinations known; see Spool.register."""
        self._owner()  # from now on `is_served` is true
        with self._progress.writing() as link:
            known = {row[0] for row in link.execute("SELECT name FROM destinations").fetchall()}
            for name in destinations:
                if name not in known:
                    link.execute("INSERT INTO destinations (name) VALUES (?)", (name,))
                    # What was only kept is wanted again.
                    link.execute("UPDATE batches SET done_ms = 0 WHERE done_ms > 0")
        return sorted(known - set(destinations))

    def forget(self, destination: str) -> None:
        """Forget a destination; see Spool.forget."""
        with self._progress.writing() as link:
            link.execute("DELETE FROM destinations WHERE name = ?", (destination,))
            for table in ("progress", "leases", "dead"):
                link.execute(f"DELETE FROM {table} WHERE destination = ?", (destination,))  # noqa: S608 - constants
        self.collect()

    def lease(self, destination: str, streams: Collection[str] | None, without: Collection[str] = ()) -> Lease | None:
        """Take the next batch for a destination; see Spool.lease."""
        with self._progress.writing(durable=False) as link:
            given = link.execute(
                "SELECT leases.batch, batches.stream, leases.owner FROM leases "
                "JOIN batches ON batches.number = leases.batch WHERE destination = ?",
                (destination,),
            ).fetchall()
            busy = {stream for _batch, stream, owner in given if owner and self._is_alive(owner)}
            waiting = {(batch, stream) for batch, stream, _owner in given}
            waiting.update(link.execute(_NEXT, (destination,)).fetchall())
            for number, stream in sorted(waiting):
                if stream not in busy and stream not in without and (streams is None or stream in streams):
                    return self._give(link, destination, number)
        return None

    def confirm(self, lease: Lease) -> None:
        """Write down that a destination has a batch; see Spool.confirm."""
        with self._progress.writing() as link:
            records, size = self._answered(link, lease)
            self._move_on(link, lease)
            link.execute(
                "UPDATE destinations SET records = records + ?, bytes = bytes + ? WHERE name = ?",
                (records, size, lease.destination),
            )
            decision = self._settle_if_done(link, lease.batch.number)
        if decision is not None:
            self._deleting.carry_out_soon(decision)

    def release(self, lease: Lease, reason: str) -> None:
        """Give a batch back; see Spool.release."""
        with self._progress.writing(durable=False) as link:
            self._own(link, lease)
            link.execute(
                "UPDATE leases SET owner = '', reason = ? WHERE destination = ? AND batch = ?",
                (reason, lease.destination, lease.batch.number),
            )

    def refuse(self, lease: Lease, reason: str) -> bool:
        """Count a refusal; see Spool.refuse."""
        with self._progress.writing() as link:
            refusals = self._own(link, lease) + 1
            if refusals < self._refusals:
                link.execute(
                    "UPDATE leases SET owner = '', reason = ?, refusals = ? WHERE destination = ? AND batch = ?",
                    (reason, refusals, lease.destination, lease.batch.number),
                )
                return False
            self._answered(link, lease)
            self._move_on(link, lease)
            link.execute(
                "INSERT OR REPLACE INTO dead VALUES (?, ?, ?, ?)",
                (lease.destination, lease.batch.number, reason, self._wall_ms()),
            )
        _log.error(
            "A batch is set aside: its destination refuses it",
            destination=lease.destination,
            batch=lease.batch.number,
            stream=lease.batch.stream,
            records=len(lease.batch.numbers),
            reason=reason,
            remedy="lineside spool list, then lineside spool retry",
        )
        return True

    def report(self, destination: str, state: str, detail: str) -> None:
        """Keep the state of a destination's connection; see Spool.report."""
        with self._progress.reading() as link:
            found = link.execute("SELECT state, detail FROM destinations WHERE name = ?", (destination,)).fetchone()
        if found is None or found == (state, detail):
            return
        with self._progress.writing(durable=False) as link:
            link.execute(
                "UPDATE destinations SET since_ms = CASE WHEN state = ?1 THEN since_ms ELSE ?2 END, "
                "state = ?1, detail = ?3 WHERE name = ?4",
                (state, self._wall_ms(), detail, destination),
            )

    def dead_letters(self, destination: str | None) -> list[DeadLetter]:
        """Return the dead letters of one destination, or of all, oldest batch first."""
        with self._progress.reading() as link:
            rows = link.execute(
                f"SELECT destination, reason, since_ms, {BATCH} FROM dead "  # noqa: S608 - a constant
                "JOIN batches ON batches.number = dead.batch WHERE ? IS NULL OR destination = ? ORDER BY batch",
                (destination, destination),
            ).fetchall()
        return [DeadLetter(row[0], batch_of(row[3:]), row[1], row[2]) for row in rows]

    def retry(self, destination: str, batch: int | None) -> int:
        """Put dead letters back in line; see Spool.retry."""
        with self._progress.writing() as link:
            found = link.execute(
                "DELETE FROM dead WHERE destination = ? AND (? IS NULL OR batch = ?) RETURNING batch, reason",
                (destination, batch, batch),
            ).fetchall()
            link.executemany(
                "INSERT INTO leases (destination, batch, owner, reason) VALUES (?, ?, '', ?)",
                [(destination, number, reason) for number, reason in found],
            )
        return len(found)

    def collect(self) -> None:
        """Settle all batches that every destination is done with."""
        while True:
            with self._progress.writing() as link:
                done = _done(link)
                decisions = [self._settle_if_done(link, number) for number in done]
            for decision in decisions:
                if decision is not None:
                    self._deleting.carry_out_soon(decision)
            if len(done) < _CHUNK:
                return

    def _give(self, link: Connection, destination: str, number: int) -> Lease:
        attempts, refusals = link.execute(
            "INSERT INTO leases (destination, batch, owner, attempts) VALUES (?, ?, ?, 1) "
            "ON CONFLICT (destination, batch) DO UPDATE SET owner = excluded.owner, attempts = attempts + 1 "
            "RETURNING attempts, refusals",
            (destination, number, self._owner()),
        ).fetchall()[0]
        row = link.execute(f"SELECT {BATCH} FROM batches WHERE number = ?", (number,)).fetchone()  # noqa: S608 - a constant
        return Lease(destination, batch_of(row), attempts, refusals)

    def _own(self, link: Connection, lease: Lease) -> int:
        """Return how often the batch was refused; raises LeaseLost where it is not leased to this owner."""
        found = link.execute(
            "SELECT refusals FROM leases WHERE destination = ? AND batch = ? AND owner = ?",
            (lease.destination, lease.batch.number, self._owner()),
        ).fetchone()
        if found is None:
            raise LeaseLost(
                f"Batch {lease.batch.number} is not leased to this process for {lease.destination!r}",
                remedy="Nothing was changed: lease the next one",
            )
        return int(found[0])

    def _answered(self, link: Connection, lease: Lease) -> tuple[int, int]:
        """End a lease; returns the records and bytes of its batch."""
        self._own(link, lease)
        link.execute("DELETE FROM leases WHERE destination = ? AND batch = ?", (lease.destination, lease.batch.number))
        records, size = link.execute(
            "SELECT records, size FROM batches WHERE number = ?", (lease.batch.number,)
        ).fetchone() or (0, 0)
        return records, size

    def _move_on(self, link: Connection, lease: Lease) -> None:
        link.execute(
            "INSERT INTO progress VALUES (?, ?, ?) "
            "ON CONFLICT (destination, stream) DO UPDATE SET batch = max(batch, excluded.batch)",
            (lease.destination, lease.batch.stream, lease.batch.number),
        )

    def _settle_if_done(self, link: Connection, number: int) -> int | None:
        """Keep or give up a batch that every destination has; returns the decision to carry out."""
        found = link.execute(
            f"SELECT {BATCH} FROM batches WHERE number = ? AND done_ms = 0 "  # noqa: S608 - a constant
            "AND EXISTS (SELECT 1 FROM destinations) "
            "AND NOT EXISTS (SELECT 1 FROM dead WHERE batch = batches.number) "
            "AND NOT EXISTS (SELECT 1 FROM leases WHERE batch = batches.number) "
            "AND NOT EXISTS (SELECT 1 FROM destinations WHERE coalesce((SELECT batch FROM progress "
            "WHERE destination = destinations.name AND progress.stream = batches.stream), 0) < batches.number)",
            (number,),
        ).fetchone()
        if found is None:
            return None
        leavers = self._deleting.leavers(batch_of(found).numbers)
        if self._keeps:
            link.execute("UPDATE batches SET done_ms = ? WHERE number = ?", (self._wall_ms(), number))
            self._deleting.remember(link, leavers, "delivered")
            return None
        link.execute("DELETE FROM batches WHERE number = ?", (number,))
        self._deleting.remember(link, leavers, "delivered")
        return self._deleting.decide(link, leavers)


def _done(link: Connection) -> list[int]:
    """Return the numbers of some batches that every destination is done with."""
    rows = link.execute(
        "SELECT stream, min(batch) FROM progress GROUP BY stream HAVING count(*) = (SELECT count(*) FROM destinations)"
    ).fetchall()
    done: list[int] = []
    for stream, last in rows:
        found = link.execute(
            "SELECT number FROM batches WHERE stream = ? AND number <= ? AND done_ms = 0 "
            "AND number NOT IN (SELECT batch FROM dead) AND number NOT IN (SELECT batch FROM leases) "
            "ORDER BY number LIMIT ?",
            (stream, last, _CHUNK),
        ).fetchall()
        done += [number for (number,) in found]
    return done[:_CHUNK]
