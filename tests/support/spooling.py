"""Steps on a spool that many tests take: put, seal, lease and deliver records; and clocks that a test sets."""

from typing import Any

from lineside.spool import Entry, Lease, Spool
from lineside.spool.store.clock import Clock

HOUR_MS = 3_600_000


class Box:
    """The clocks of a box, which a test sets."""

    def __init__(self) -> None:
        self.wall = 1_800_000_000_000
        self.boot = 1_000

    def passes(self, ms: int) -> None:
        self.wall += ms
        self.boot += ms

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.boot)


def entry(key: str, stream: str = "model", hour: str = "02", **more: Any) -> Entry:
    return Entry(key, stream, f"fleet/{stream}/2026/11/22/{hour}", more.pop("body", b'{"a":1}'), **more)


def fill(spool: Spool, count: int, stream: str = "model", start: int = 0, **more: Any) -> list[str]:
    keys = [f"{stream}-{number:06}" for number in range(start, start + count)]
    for key in keys:
        spool.put(entry(key, stream, **more))
    return keys


def seal_all(spool: Spool, max_records: int = 10, max_bytes: int = 1 << 30) -> int:
    """Seal everything; returns the number of batches."""
    batches = 0
    while runs := spool.unsealed():
        for run in runs:
            batches += spool.seal(run, max_records, max_bytes) is not None
    return batches


def take(spool: Spool, destination: str) -> Lease:
    lease = spool.lease(destination)
    assert lease is not None
    return lease


def drain(spool: Spool, destination: str) -> list[str]:
    """Deliver everything to a destination; returns the keys in the order in which they arrived."""
    arrived: list[str] = []
    while lease := spool.lease(destination):
        arrived += [record.key for record in spool.read(lease.batch)]
        spool.confirm(lease)
    return arrived
