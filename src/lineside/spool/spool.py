"""The spool's interface, for services and commands."""

import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from sqlite3 import Connection
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar

import structlog

from lineside.spool.delivery.dropping import Dropping
from lineside.spool.delivery.leases import Delivery
from lineside.spool.delivery.sealing import Sealing
from lineside.spool.errors import SpoolError, SpoolFull, SpoolUnusable
from lineside.spool.repair.recovery import recover as recover_folder
from lineside.spool.settings import SpoolSettings
from lineside.spool.status import status
from lineside.spool.store import blobs, quarantine
from lineside.spool.store.access import Access
from lineside.spool.store.blobs import Blobs
from lineside.spool.store.capacity import Capacity
from lineside.spool.store.clock import Clock
from lineside.spool.store.database import Database, full, is_full, unusable
from lineside.spool.store.deleting import Deleting
from lineside.spool.store.entry import Batch, Entry, Receipt, Record, StoredBlob
from lineside.spool.store.locks import FOLDER_MODE, LOCKS, OwnerLock, is_alive, is_served, remove_dead
from lineside.spool.store.reading import Reading
from lineside.spool.store.reserve import Reserve
from lineside.spool.store.schema import PAGE, PROGRESS, PROGRESS_SCHEMA, RECORDS, RECORDS_SCHEMA
from lineside.spool.store.values import DeadLetter, Lease, Outcome, Run, Status, Swept
from lineside.spool.store.writing import Writer

_log = structlog.get_logger(__name__)
_HOUR_MS = 3_600_000
T = TypeVar("T")


class Spool:
    """The durable queue of a box, opened by one process; every call is short and blocking, from any thread.

    All calls raise SpoolUnusable where the folder or its disk fails, and SpoolFull where the disk is too full for them;
    nothing is half done then, and the same call works when the disk does.
    """

    def __init__(
        self, folder: Path, settings: SpoolSettings, producer: str, clock: Clock, *, looks_after: bool
    ) -> None:
        """Use an existing folder; call `open` instead."""
        self.folder = folder
        self.settings = settings
        self._clock = clock
        self._access = Access(folder, folder / LOCKS, let_go=self._let_go, repair=self._repair)
        # Both logs together take less than what is set aside for a full disk.
        files: dict[str, Any] = {"log_pages": min(1000, max(16, settings.reserve_bytes // 16 // PAGE))}
        if looks_after:
            files |= {"using": self._access.using, "on_damage": lambda why: quarantine.request_repair(folder, why)}
        # The files in `blobs` as they were while no other process had the folder: those that come later may be in use.
        self._found: list[str] | None = []
        self._owner: OwnerLock | None = None
        self._guard = threading.Lock()
        with ExitStack() as opened:
            opened.callback(self._access.close)
            self._records = Database(folder / RECORDS, RECORDS_SCHEMA, folder / LOCKS / "records.lock", **files)
            opened.callback(self._records.close)
            self._progress = Database(folder / PROGRESS, PROGRESS_SCHEMA, folder / LOCKS / "progress.lock", **files)
            opened.callback(self._progress.close)
            self._closing = opened.pop_all()
        self._blobs = Blobs(folder)
        self._reserve = Reserve(folder, settings.reserve_bytes)
        self._deleting = Deleting(self._records, self._progress, self._blobs, self._relieve)
        self._dropping = Dropping(self._progress, self._deleting, settings.when_full)
        self._reading = Reading(folder, self._records, self._progress, self._blobs, self._deleting)
        self._sealing = Sealing(self._records, self._progress, clock.wall)
        self._writer = Writer(
            self._records,
            self._progress,
            self._blobs,
            producer=producer,
            capacity=self._capacity,
            make_room=self._dropping.make_room,
            wall_ms=clock.wall,
        )
        self._delivery = Delivery(
            self._progress,
            self._deleting,
            owner=self._owner_name,
            is_alive=lambda owner: is_alive(folder / LOCKS, owner),
            refusals=settings.refusals,
            keeps=settings.keep_delivered_h > 0,
            wall_ms=clock.wall,
        )

    @classmethod
    def open(
        cls, settings: SpoolSettings, *, producer: str = "", recover: bool = True, clock: Clock | None = None
    ) -> "Spool":
        """Open the spool of `settings.folder`, making it where it is new.

        `producer` names the service that puts; its records are numbered without a gap. The first process that opens a
        folder repairs what a kill or a bad disk left; with `recover=False`, for commands, nothing is made nor repaired.
        Raises SpoolUnusable.
        """
        folder = settings.folder
        if folder is None:
            raise SpoolUnusable("spool.folder is not set", remedy="Set it to a folder on a local disk", transient=False)
        clock = clock or Clock()
        if not recover:
            if not (folder / RECORDS).is_file():
                raise SpoolUnusable(
                    f"{folder} is no spool: there is no {RECORDS}",
                    remedy="Name the folder that spool.folder of the services names",
                    transient=False,
                )
            return cls(folder, settings, producer, clock, looks_after=False)
        try:
            for place in (folder, *(folder / name for name in (LOCKS, blobs.FOLDER, quarantine.FOLDER))):
                place.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(folder, error) from error
        spool = cls(folder, settings, producer, clock, looks_after=True)
        try:
            spool._start()
        except BaseException:
            spool.close()
            raise
        return spool

    def put(self, entry: Entry) -> Receipt:
        """Keep a record; it is on the disk when this returns.

        `is_new` is False where its key is known: nothing is kept. The receipt of a known key whose record is gone has
        number 0. Raises SpoolFull where there is no room by the spool's bound or the disk's, SpoolUnusable where the
        disk fails; nothing is kept then.
        """
        return self._writer.put(entry)

    def find(self, key: str) -> Outcome | None:
        """Return what became of a key; None where it was never put or is forgotten: the last 100,000 gone are known."""
        return self._reading.find(key)

    def register(self, destinations: Sequence[str]) -> list[str]:
        """Make destinations known, which are to get everything that is there; returns others that are known already.

        Those hold back their evidence until `forget`.
        """
        return self._draining(lambda: self._delivery.register(destinations))

    def forget(self, destination: str) -> None:
        """Deliver to a destination no more; what only it lacked is deleted. The last one's evidence stays."""
        self._draining(lambda: self._delivery.forget(destination))

    def unsealed(self, max_records: int = 10_000) -> list[Run]:
        """Return the first `max_records` records without a batch, as runs, in the order of their first records."""
        return self._sealing.unsealed(max_records)

    def seal(self, run: Run, max_records: int, max_bytes: int) -> Batch | None:
        """Make a batch of a run's first records, for ever: at most so many, and bytes of bodies, and at least one.

        None where none of them is left, since another forwarder sealed them or they were dropped. Raises SpoolFull on a
        full disk while some batches wait already: deliver those first.
        """
        return self._draining(lambda: self._sealing.seal(run, max_records, max_bytes, is_tight=self._deleting.is_tight))

    def lease(
        self, destination: str, *, streams: Collection[str] | None = None, without: Collection[str] = ()
    ) -> Lease | None:
        """Take the next batch for a destination; None where there is none, or all their streams are leased.

        With `streams` only of these, and never of those in `without`.

        At most one batch a stream is leased for a destination at a time, in order, by whichever process; a process's
        leases end with it.
        """
        return self._draining(lambda: self._delivery.lease(destination, streams, without))

    def read(self, batch: Batch) -> list[Record]:
        """Return the records of a batch, each checked.

        A damaged one is quarantined, counted and left out, as are those that were dropped: where none is left, confirm.
        """
        return self._reading.read(batch.numbers)

    def open_blob(self, blob: StoredBlob) -> BinaryIO:
        """Open a blob that is as it was written; raises SpoolDamaged where it is not, after quarantining it."""
        return self._reading.open_blob(blob)

    def confirm(self, lease: Lease) -> None:
        """Write down that a destination has a batch; what all have is deleted, or kept as `keep_delivered_h` says.

        Raises LeaseLost where the batch is not leased to this process; nothing is changed then.
        """
        self._draining(lambda: self._delivery.confirm(lease))

    def release(self, lease: Lease, reason: str) -> None:
        """Give a batch back, for instance because the destination is away; raises LeaseLost."""
        self._draining(lambda: self._delivery.release(lease, reason))

    def refuse(self, lease: Lease, reason: str) -> bool:
        """Give a batch back that the destination refuses; True: too often, it is a dead letter. Raises LeaseLost."""
        return self._draining(lambda: self._delivery.refuse(lease, reason))

    def report(self, destination: str, state: str, detail: str) -> None:
        """Keep the state of a destination's connection for people; written on a change only."""
        self._draining(lambda: self._delivery.report(destination, state, detail))

    def sweep(self) -> Swept:
        """Give up what is too old, delete what is kept no longer, finish what was left over; about once a minute."""
        return self._draining(self._sweep)

    def status(self) -> Status:
        """Return where the spool and its destinations stand; costs little, whatever waits."""
        try:
            served = is_served(self.folder / LOCKS)
        except OSError as error:
            raise unusable(self.folder, error) from error
        return status(self._records, self._progress, self.settings.max_bytes, self._free(), is_served=served)

    def dead_letters(self, destination: str | None = None) -> list[DeadLetter]:
        """Return the dead letters of one destination, or of all."""
        return self._delivery.dead_letters(destination)

    def retry(self, destination: str, batch: int | None = None) -> int:
        """Put one dead letter of a destination back in line, or all; returns how many. They come before newer ones."""
        return self._draining(lambda: self._delivery.retry(destination, batch))

    def iterate(self) -> Iterator[Record]:
        """Yield all records, oldest first, in bounded memory, without those that are only kept."""
        return self._reading.iterate()

    def close(self) -> None:
        """Close the files; what this process had leased is free."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None
        self._closing.close()

    def _start(self) -> None:
        """Open the files; where no other process uses the folder, repair it and finish what a kill left undone."""
        is_first = self._take_folder()
        self._draining(self._records.open)
        self._draining(self._progress.open)
        if is_first:
            remove_dead(self.folder / LOCKS)
            self._draining(self._deleting.finish)
            self._reading.delete_orphans(self._found or ())
        self._found = None
        self._reserve.make(self._free())

    def _take_folder(self) -> bool:
        """Take the folder's lock; returns whether no other process had it."""
        try:
            return self._access.open()
        except SpoolFull:  # the logs, which `_draining` would write over, cannot be used before
            self._reserve.give_up()
            return self._access.open()

    def _let_go(self) -> None:
        """Close the files, before they are repaired."""
        self._records.let_go()
        self._progress.let_go()
        self._writer.start_over()

    def _repair(self) -> None:
        """Repair what is damaged, alone in the folder; what was remembered of the files may be wrong after."""
        try:
            recover_folder(self.folder, self.settings)
            if self._found is not None:
                self._found = self._blobs.files()
        except OSError as error:
            raise unusable(self.folder, error) from error
        except sqlite3.Error as error:
            if is_full(error):
                raise full(self.folder) from error
            raise SpoolUnusable(f"{self.folder} cannot be repaired: {error}", remedy="Look after the disk") from error
        self._deleting.start_over()
        self._sealing.start_over()

    def _sweep(self) -> Swept:
        deleted = self._deleting.finish()
        dropped: dict[str, int] = {}
        now = self._clock.wall()
        too_old = now - round(self.settings.max_age_h * _HOUR_MS)
        if self._clock.is_trusted() and (old := self._dropping.drop_older(too_old)):
            dropped["age"] = old
        deleted += self._dropping.drop_kept_before(now - round(self.settings.keep_delivered_h * _HOUR_MS))
        self._deleting.is_tight = not self._reserve.make(self._free())
        return Swept(deleted, dropped)

    def _capacity(self, link: Connection, used: int, wanted: int) -> Capacity:
        """Return what there is; `link` is to the records, `wanted` how many bytes are asked for."""
        free = self._free()
        reusable = 0
        if free - self.settings.reserve_bytes < wanted:
            reusable = link.execute("PRAGMA freelist_count").fetchone()[0] * PAGE
        return Capacity(used, self.settings.max_bytes, free, self.settings.reserve_bytes, reusable)

    def _free(self) -> int:
        """Return the bytes of the disk that this user may fill."""
        try:
            disk = os.statvfs(self.folder)
        except OSError as error:
            raise unusable(self.folder, error) from error
        return disk.f_bavail * disk.f_frsize

    def _draining(self, work: Callable[[], T]) -> T:
        """Do work that frees disk space in the end; where the disk is full, again after giving up the reserve."""
        try:
            return work()
        except SpoolFull:
            self._relieve()
            return work()

    def _relieve(self) -> None:
        """Gain space on a full disk: give up the reserve, reuse the write-ahead logs, remember fewer outcomes."""
        if self._reserve.give_up():
            _log.warning("The disk is full: the space set aside for draining is used", folder=str(self.folder))
        self._deleting.is_tight = True
        for file in (self._records, self._progress):
            with suppress(SpoolError):
                file.reuse_log()

    def _owner_name(self) -> str:
        with self._guard:
            if self._owner is None:
                self._owner = OwnerLock(self.folder / LOCKS)
            return self._owner.name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
