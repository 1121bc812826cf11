"""The status of the spool and its destinations, from totals, without reading all records."""

from sqlite3 import Connection

from lineside.spool.store.database import Database
from lineside.spool.store.values import DestinationStatus, Status

_WAITING = """
WITH RECURSIVE streams (stream) AS (
    SELECT min(stream) FROM batches
    UNION ALL
    SELECT (SELECT min(stream) FROM batches WHERE stream > streams.stream) FROM streams WHERE stream IS NOT NULL),
ends (stream, batch) AS (
    SELECT stream, coalesce((SELECT batch FROM progress WHERE destination = ? AND progress.stream = streams.stream), 0)
    FROM streams WHERE stream IS NOT NULL)
SELECT
    (SELECT sum(records) FROM batches WHERE batches.stream = ends.stream AND number > ends.batch),
    (SELECT sum(size) FROM batches WHERE batches.stream = ends.stream AND number > ends.batch),
    (SELECT first FROM batches WHERE batches.stream = ends.stream AND number > ends.batch ORDER BY number LIMIT 1)
FROM ends
"""
_AGAIN = """
SELECT sum(records), sum(size), min(first) FROM batches JOIN leases ON leases.batch = batches.number
WHERE leases.destination = ? AND batches.number <= coalesce(
    (SELECT batch FROM progress WHERE destination = leases.destination AND progress.stream = batches.stream), 0)
"""


def status(records: Database, progress: Database, max_bytes: int, free_bytes: int, *, is_served: bool) -> Status:
    """Return the status of the spool and of each destination."""
    with records.reading() as link:
        totals = dict(link.execute("SELECT name, value FROM counters WHERE name IN ('.records', '.bytes')").fetchall())
    with progress.reading() as link:
        counters = dict(link.execute("SELECT name, value FROM counters").fetchall())
        sealed, sealed_bytes = link.execute("SELECT total(records), total(size) FROM batches").fetchone()
        kept, kept_bytes = link.execute("SELECT total(records), total(size) FROM batches WHERE done_ms > 0").fetchone()
        unsealed = max(0, totals[".records"] - int(sealed))
        unsealed_bytes = max(0, totals[".bytes"] - int(sealed_bytes))
        rows = link.execute(
            "SELECT name, state, detail, since_ms, records, bytes FROM destinations ORDER BY name"
        ).fetchall()
        waits = [_waiting(link, row[0]) for row in rows]
    with records.reading() as link:
        first_unsealed = _put_at(link, counters.get("sealed", 0) + 1) if unsealed else None
        destinations = [
            DestinationStatus(
                name=name,
                state=state,
                detail=detail,
                since_ms=since_ms,
                waiting_records=count + unsealed,
                waiting_bytes=size + unsealed_bytes,
                oldest_ms=_least([*(_put_at(link, number) for number in firsts), first_unsealed]),
                delivered_records=delivered,
                delivered_bytes=delivered_bytes,
                dead=dead,
            )
            for (name, state, detail, since_ms, delivered, delivered_bytes), (count, size, firsts, dead) in zip(
                rows, waits, strict=True
            )
        ]
        oldest = _least([one.oldest_ms for one in destinations]) if destinations else _put_at(link, 0)
    return Status(
        records=totals[".records"],
        bytes=totals[".bytes"],
        kept_records=int(kept),
        kept_bytes=int(kept_bytes),
        oldest_ms=oldest,
        unsealed=unsealed,
        max_bytes=max_bytes,
        free_bytes=free_bytes,
        is_served=is_served,
        dropped=_named(counters, "dropped."),
        quarantined=_named(counters, "quarantined."),
        destinations=destinations,
    )


def _waiting(link: Connection, destination: str) -> tuple[int, int, list[int], int]:
    """Return records, bytes and first numbers of the sealed batches that a destination lacks, and its dead letters."""
    rows = [*link.execute(_WAITING, (destination,)).fetchall(), *link.execute(_AGAIN, (destination,)).fetchall()]
    (dead,) = link.execute("SELECT count(*) FROM dead WHERE destination = ?", (destination,)).fetchone()
    return (
        sum(records or 0 for records, _size, _first in rows),
        sum(size or 0 for _records, size, _first in rows),
        [first for _records, _size, first in rows if first is not None],
        dead,
    )


def _put_at(records: Connection, number: int) -> int | None:
    """Return when the first record from this number on was put."""
    found = records.execute(
        "SELECT created_ms FROM records WHERE number >= ? ORDER BY number LIMIT 1", (number,)
    ).fetchone()
    return int(found[0]) if found else None


def _least(times: list[int | None]) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _named(counters: dict[str, int], start: str) -> dict[str, int]:
    return {name.removeprefix(start): value for name, value in sorted(counters.items()) if name.startswith(start)}
