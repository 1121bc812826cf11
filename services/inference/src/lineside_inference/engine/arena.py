"""One region of POSIX shared memory in equal slots; a request's tensors live in one slot from pixels to scores.

The region is a file in /dev/shm that its owner keeps locked (flock) for its whole life. A file of ours that can be
locked belonged to a process that died, also where process ids mean nothing because containers share /dev/shm only.
"""

import asyncio
import fcntl
import mmap
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from lineside_inference.deadline import Deadline

log = structlog.get_logger("lineside.inference.arena")

FOLDER = Path("/dev/shm")  # noqa: S108 - where shm_open, and so Triton, finds a region
PREFIX = "lineside-"
PAGE = 4096


def aligned(size: int, to: int = PAGE) -> int:
    """Return `size` rounded up to a multiple of `to`."""
    return -(-size // to) * to


class Slot:
    """One slot: `memory` is its bytes, `offset` where it begins in the region.

    `keep_for` says that something outside may still touch the memory: the slot goes back only when that has ended.
    """

    def __init__(self, arena: "Arena", index: int, memory: NDArray[np.uint8]) -> None:
        self.index = index
        self.offset = index * arena.slot_bytes
        self.memory = memory
        self._arena = arena
        self._users: set[asyncio.Future[Any]] = set()
        self._is_leased = False

    @property
    def is_shared(self) -> bool:
        """Whether Triton may see its memory."""
        return self._arena.key is not None

    @property
    def is_quarantined(self) -> bool:
        """Whether it was given back and something may still touch it."""
        return not self._is_leased and bool(self._users)

    def keep_for(self, user: asyncio.Future[Any]) -> None:
        """Keep the slot out of use until `user` is done."""
        self._users.add(user)
        user.add_done_callback(self._ended)

    def lease(self) -> None:
        """Mark it as in use."""
        self._is_leased = True

    def release(self) -> None:
        """Give it back: now, or when the last one that it is kept for ends."""
        self._is_leased = False
        if not self._users:
            self._arena.put(self)

    def _ended(self, user: asyncio.Future[Any]) -> None:
        self._users.discard(user)
        if not user.cancelled():
            user.exception()  # nobody waits for it any more: its end is all that matters
        if not self._is_leased and not self._users:
            self._arena.put(self)


class Arena:
    """The region and its slots. `key` is its name for shm_open, None where it is private memory.

    Raises OSError where the region cannot be made, for instance when /dev/shm is too small.
    """

    def __init__(self, *, slot_bytes: int, slots: int, shared: bool = True, folder: Path = FOLDER) -> None:
        self.slot_bytes = aligned(slot_bytes)
        self.size = self.slot_bytes * slots
        self.key: str | None = None
        self._path: Path | None = None
        self._descriptor: int | None = None
        if shared:
            self._descriptor, self._path = _create(folder, self.size)
            self.key = f"/{self._path.name}"
        memory = np.frombuffer(mmap.mmap(self._descriptor if shared else -1, self.size), np.uint8)  # type: ignore[arg-type]  # an int where shared
        self.slots = [
            Slot(self, index, memory[index * self.slot_bytes : (index + 1) * self.slot_bytes]) for index in range(slots)
        ]
        # The slot used last is the one still in the processor's cache: last in, first out.
        self._free: asyncio.LifoQueue[Slot] = asyncio.LifoQueue()
        for slot in reversed(self.slots):
            self._free.put_nowait(slot)

    async def acquire(self, deadline: Deadline) -> Slot:
        """Return a free slot, waiting for one until the deadline; raises TimeoutError. Give it back with `release`."""
        try:
            slot = self._free.get_nowait()
        except asyncio.QueueEmpty:
            async with asyncio.timeout(deadline.left()):
                slot = await self._free.get()
        slot.lease()
        return slot

    def take(self) -> Slot | None:
        """Return a free slot now, or None. Give it back with `release`."""
        try:
            slot = self._free.get_nowait()
        except asyncio.QueueEmpty:
            return None
        slot.lease()
        return slot

    def put(self, slot: Slot) -> None:
        """Take a slot back that nothing touches any more."""
        self._free.put_nowait(slot)

    def counts(self) -> dict[str, int]:
        """Return how many slots are free, used and quarantined."""
        free, quarantined = self._free.qsize(), sum(slot.is_quarantined for slot in self.slots)
        return {"free": free, "used": len(self.slots) - free - quarantined, "quarantined": quarantined}

    def close(self) -> None:
        """Take the region's name away; the memory goes when nobody maps it any more."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def clean_leftovers(folder: Path = FOLDER) -> int:
    """Remove the regions whose owner died without doing so; return how many."""
    removed = 0
    for path in folder.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # gone meanwhile, or not ours to open
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            removed += 1
        except OSError:  # its owner lives
            continue
        finally:
            os.close(descriptor)
    if removed:
        log.info("removed shared memory of processes that are gone", regions=removed)
    return removed


def _create(folder: Path, size: int) -> tuple[int, Path]:
    """Return a locked file of this size with its bytes reserved, so that writing to it can never fail later."""
    while True:
        path = folder / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists():  # a cleaner came between open and lock
                os.close(descriptor)
                continue
            os.posix_fallocate(descriptor, 0, size)
        except BlockingIOError:
            os.close(descriptor)
            continue
        except OSError:
            path.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor, path
