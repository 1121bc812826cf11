"""The disk below the spool: its kind, whether it can be written, its room against what the settings let wait."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside.checks import Check, fail, ok, skip, warn
from lineside.settings import Settings
from lineside.spool.findings import mebibytes
from lineside.spool.settings import SpoolSettings

DISK = "disk"

_MIN_FILES = 10_000
"""Free inodes: each larger tensor or image waits in a file of its own."""

_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs"}
_VOLATILE = {"tmpfs": "memory", "ramfs": "memory", "overlay": "a container's own layer"}


@dataclass(frozen=True)
class Disk:
    """A file system: where it is mounted, its kind, bytes, inodes (0 of 0: it counts none)."""

    mount: str
    kind: str
    total: int
    free: int
    inodes: int
    free_inodes: int
    is_read_only: bool


def look(settings: Sequence[Settings], root: Path) -> Check:
    """Look at the disk of the spool's folder, or of the nearest one above that is there."""
    spools = [spool for each in settings if isinstance(spool := getattr(each, "spool", None), SpoolSettings)]
    spool = next((each for each in spools if each.folder is not None), None)
    if spool is None or spool.folder is None:
        return skip(DISK, "spool.folder is not set: nothing is kept on a disk")
    folder = spool.folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return judge(read(there, (root / "proc/self/mountinfo").read_text(encoding="utf-8")), spool, folder)


def read(folder: Path, mounts: str) -> Disk:
    """Return the file system of a folder; `mounts` is /proc/self/mountinfo. Raises OSError."""
    mount, kind = mount_of(folder.resolve(), mounts)
    found = os.statvfs(folder)
    return Disk(
        mount=mount,
        kind=kind,
        total=found.f_blocks * found.f_frsize,
        free=found.f_bavail * found.f_frsize,
        inodes=found.f_files,
        free_inodes=found.f_favail,
        is_read_only=bool(found.f_flag & os.ST_RDONLY),
    )


def mount_of(folder: Path, mounts: str) -> tuple[str, str]:
    """Return where the file system of a folder is mounted and its kind; of mounts in one place the last counts."""
    best, kind = "/", "unknown"
    for line in mounts.splitlines():
        before, _dash, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:  # noqa: PLR2004 - the mount point is the fifth; see proc(5)
            continue
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if folder.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, after.split()[0]
    return best, kind


def judge(disk: Disk, spool: SpoolSettings, folder: Path) -> Check:
    """Judge the disk against the spool's bound and reserve."""
    what = f"{folder} on {disk.mount} ({disk.kind}): {mebibytes(disk.free)} of {mebibytes(disk.total)} free"
    if disk.is_read_only:
        return fail(
            DISK, f"{what}, read-only: no evidence can be kept", "mount it writable; see dmesg for why it is not"
        )
    if disk.free < spool.reserve_bytes:
        reserve = f"below spool.reserve_bytes, {mebibytes(spool.reserve_bytes)}, no evidence is taken"
        return fail(DISK, f"{what}; {reserve}", "free space on that disk; what waits can still leave")
    odd = [*_room(disk, spool), *_of_kind(disk)]
    if odd:
        return warn(DISK, "; ".join([what, *(why for why, _do in odd)]), "; ".join(do for _why, do in odd))
    return ok(DISK, what)


def _of_kind(disk: Disk) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with this kind of file system, and what to do."""
    if disk.kind in _REMOTE:
        yield "it is on a network", "put spool.folder on a local disk: SQLite's locks need one"
    if lost := _VOLATILE.get(disk.kind):
        yield f"it is {lost}, gone at a restart", "put spool.folder on a disk, or a volume"


def _room(disk: Disk, spool: SpoolSettings) -> Iterator[tuple[str, str]]:
    if disk.inodes and disk.free_inodes < _MIN_FILES:
        yield f"it has room for {disk.free_inodes} more files only", "remove small files from that disk"
    if disk.total < (needed := spool.max_bytes + spool.reserve_bytes):
        yield (
            f"spool.max_bytes and reserve_bytes are {mebibytes(needed)}",
            "lower spool.max_bytes: the disk's end comes before the bound",
        )
