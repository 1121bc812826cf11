"""The plans that lie in the folder: which there are, whether one is whole and this device's, and which have to go."""

import fcntl
import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from lineside.plans.documents import BUILDER, LOCK, MODELS, PLAN, PLAN_DOCUMENT, BuilderState, Damaged, Plan, read
from lineside.plans.key import is_key

_CHUNK = 1024 * 1024


class PlanFolder:
    """Reads the folder; blocking, all of it. Whoever writes a plan is the builder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def place(self, key: str) -> Path:
        """Return a plan's folder."""
        return self.path / MODELS / key

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each plan that lies here, whole or not; raises OSError."""
        found = {}
        try:
            names = [entry.name for entry in os.scandir(self.path / MODELS) if is_key(entry.name)]
        except FileNotFoundError:
            return {}
        for name in names:
            try:
                found[name] = (self.place(name) / PLAN).stat().st_size
            except OSError:
                found[name] = 0
        return found

    def verified(self, key: str) -> Plan:
        """Return a plan whose file is what was built, for this very key; as slow as reading it. Raises Damaged."""
        folder = self.place(key)
        found = read(folder / PLAN_DOCUMENT)
        if found is None:
            raise Damaged(f"{folder} has no {PLAN_DOCUMENT}")
        plan = Plan.of_document(found)
        if plan.key != key:
            raise Damaged(f"{folder} holds a plan of {plan.device.describe()}, whose key is {plan.key}")
        sha256, size = digest(folder / PLAN)
        if (sha256, size) != (plan.sha256, plan.bytes):
            raise Damaged(f"{folder / PLAN} has {size} bytes with SHA-256 {sha256}; {plan.sha256} was built")
        return plan

    def builder(self) -> BuilderState | None:
        """Return what the builder says of itself, None where none lives; raises Damaged."""
        if not is_held(self.path / LOCK):
            return None
        found = read(self.path / BUILDER)
        return None if found is None else BuilderState.of_document(found)


def digest(path: Path) -> tuple[str, int]:
    """Return a file's SHA-256 and bytes; raises Damaged where it cannot be read."""
    found, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise Damaged(f"{path} cannot be read: {error.strerror}") from None
    return found.hexdigest(), size


def is_held(lock: Path) -> bool:
    """Whether a living process holds a lock exclusively; no clock decides it."""
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def to_delete(sizes: Mapping[str, int], used: Sequence[str], keep: Collection[str], limit: int) -> tuple[str, ...]:
    """Return the plans to delete so that the others have `limit` bytes at most: those not used for longest first.

    `used` has the latest at its end; what is not in it was used least. `keep` are wanted now, and never go.
    """
    rank = {name: place for place, name in enumerate(used)}
    too_much = sum(sizes.values()) - limit
    gone = []
    for name in sorted(sizes, key=lambda name: (rank.get(name, -1), name)):
        if too_much <= 0:
            break
        if name not in keep:
            gone.append(name)
            too_much -= sizes[name]
    return tuple(gone)


def room_left(sizes: Mapping[str, int], keep: Collection[str], limit: int) -> int:
    """Return how many bytes a new plan may have: the limit, less what is wanted now and lies here already."""
    return limit - sum(size for name, size in sizes.items() if name in keep)
