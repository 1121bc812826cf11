"""Values that the spool returns: runs, leases, dead letters, status."""

from dataclasses import dataclass, field
from typing import Literal

from lineside.spool.store.entry import Batch

Outcome = Literal["waiting", "delivered", "dead", "dropped"]
"""What became of a record: it waits; every destination has it; one refuses it; it was dropped, which is counted."""


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one stream and folder, one after another, that belong to no batch yet.

    `size` is in bytes with blobs. `closed`: a record of another folder follows in this stream, so that no more come.
    """

    stream: str
    folder: str
    numbers: tuple[int, ...]
    size: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """A batch that this process is to deliver to one destination.

    `attempts` counts how often it was leased, this time too; `refusals` how often the destination refused it.
    """

    destination: str
    batch: Batch
    attempts: int
    refusals: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A batch that a destination refused too often; it waits to be retried by a person."""

    destination: str
    batch: Batch
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did: records deleted because they are kept no longer, and dropped, by reason."""

    deleted: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """Where one destination stands.

    `waiting` is what it does not have yet, dead letters left out; `dead` counts batches. `state` and `detail` are what
    the forwarder reported last, `since_ms` when the state began. Times are milliseconds since 1970.
    """

    name: str
    state: str
    detail: str
    since_ms: int
    waiting_records: int
    waiting_bytes: int
    oldest_ms: int | None
    delivered_records: int
    delivered_bytes: int
    dead: int


@dataclass(frozen=True, slots=True)
class Status:
    """What is in the spool.

    `records` and `bytes` are all that is there; of these `kept_records` and `kept_bytes` are delivered everywhere
    and only kept. `oldest_ms` is when the oldest was put that waits, `unsealed` how many belong to no batch yet,
    `max_bytes` the bound, `free_bytes` the disk's free space, `is_served` whether a forwarder runs. `dropped` and
    `quarantined` are totals by reason.
    """

    records: int
    bytes: int
    kept_records: int
    kept_bytes: int
    oldest_ms: int | None
    unsealed: int
    max_bytes: int
    free_bytes: int
    is_served: bool
    dropped: dict[str, int]
    quarantined: dict[str, int]
    destinations: list[DestinationStatus]
