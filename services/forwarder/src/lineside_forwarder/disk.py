"""Destination `disk`: files below a folder, in Edge Manager's layout, safe against a power cut at any point.

A file is written beside its name, synced, renamed, and its folder synced; the objects before the lines that name them.
So a name that can be seen is a whole file, and no line is ever cut.
"""

import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from lineside.durable_files import replace_file, sync
from lineside.spool import StoredBlob
from lineside.threads import run_to_end_in, start
from lineside_forwarder.destination import BatchUpload, BlobSource
from lineside_forwarder.errors import BatchRefused, DestinationAway, ForwarderError, NotAllowed
from lineside_forwarder.rate_limiter import RateLimiter

_CHUNK = 1024 * 1024
_MAX_KNOWN = 1000
_THREADS = 4
_CHECK_S = 5.0
"""Longest wait for a share that hangs, at the start."""
_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_CLOSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_SUCH_NAME = {errno.ENAMETOOLONG, errno.EINVAL, errno.EISDIR}


class DiskDestination:
    """Writes below `path`, which must be there; with `make_path` it is made."""

    def __init__(self, name: str, path: Path, *, make_path: bool = False) -> None:
        self.name = name
        self.target = str(path)
        self._path = path
        self._make_path = make_path
        self._durable: set[Path] = set()
        # A network share that hangs blocks these threads and no others.
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"disk {name}")

    def check(self) -> None:
        """Make the folder, and raise NotAllowed where it cannot be made or written.

        What may come by itself passes: a folder above it that is not there, for a disk may be mounted late; a full
        disk; a share that does not answer for seconds.
        """
        with suppress(DestinationAway, TimeoutError):
            start(partial(self._guarded, self._demand_writable), f"disk {self.name}").result(_CHECK_S)

    async def start(self) -> None:
        """Do nothing: the folder is looked for at each delivery, for a disk may be mounted late."""

    async def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False)

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        """Write all of it; `limiter` is the network's and does not count here."""
        del limiter
        await self._run(self._prepare, upload)
        addresses: dict[str, str | None] = {}
        for path, blob in upload.objects():
            addresses[path] = await self._copy(path, blob, blobs)
        await self._run(self._finish, upload, upload.jsonl(addresses))

    async def _copy(self, path: str, blob: StoredBlob, blobs: BlobSource) -> str | None:
        """Write one object; return its address, None where it is damaged."""
        source = await blobs.open(blob)
        if source is None:
            return None
        with source:
            await self._run(write_file, self._path / path, source)
        return (self._path / path).as_uri()

    def _demand_writable(self) -> None:
        self._make_folder(self._path.parent, Path(self._path.name))
        if not os.access(self._path, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, f"user {os.geteuid()} may not write there", str(self._path))

    def _prepare(self, upload: BatchUpload) -> None:
        if self._make_path:
            self._make_folder(self._path.parent, Path(self._path.name))
        elif not self._path.is_dir():
            raise NotAllowed(
                f"folder {self._path} of destination {self.name} is not there",
                reason="no-folder",
                remedy="Mount its disk, or make it",
            )
        for folder in {Path(path).parent for path, _blob in upload.objects()} | {Path(upload.folder)}:
            self._make_folder(self._path, folder)

    def _make_folder(self, top: Path, below: Path) -> None:
        """Make the folders of `below` under `top`, each durable in the one above; what is known to be so is passed."""
        if len(self._durable) > _MAX_KNOWN:
            self._durable.clear()
        folder = top
        for part in below.parts:
            above, folder = folder, folder / part
            if folder not in self._durable:
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
                sync(above)
                self._durable.add(folder)

    def _finish(self, upload: BatchUpload, lines: bytes) -> None:
        for folder in sorted({Path(path).parent for path, _blob in upload.objects()}):
            sync(self._path / folder)
        write_file(self._path / upload.path, lines)
        sync(self._path / upload.folder)

    async def _run(self, call: Callable[..., None], *arguments: object) -> None:
        await run_to_end_in(self._pool, self._guarded, call, *arguments)

    def _guarded(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except OSError as error:
            self._durable.clear()  # a folder may have been taken away
            raise self._explain(error) from error

    def _explain(self, error: OSError) -> ForwarderError:
        """Return what an error of the disk means for the batch."""
        where = f"destination {self.name}: {error.filename or self._path}: {error.strerror}"
        if error.errno in _FULL:
            return DestinationAway(f"{where}; {self._free_space()}", remedy="Free space there; it goes on by itself")
        if error.errno in _CLOSED:
            return NotAllowed(where, reason="permission", remedy="Allow this service to write there")
        if error.errno in _NO_SUCH_NAME:
            return BatchRefused(where)
        return DestinationAway(where)

    def _free_space(self) -> str:
        try:
            usage = shutil.disk_usage(self._path)
        except OSError:
            return "its free space is not known"
        return f"{usage.free} of {usage.total} bytes are free"


def write_file(path: Path, content: bytes | BinaryIO) -> None:
    """Put a whole file there, durable but for its name in the folder; leave one with this content. Raises OSError."""
    if _holds(path, content):
        return
    if not isinstance(content, bytes):
        content.seek(0)
    replace_file(path, content, mode=_FILE_MODE, ignores_umask=True)


def _holds(path: Path, content: bytes | BinaryIO) -> bool:
    """Whether a file is there with exactly this content."""
    try:
        with path.open("rb") as there:
            if isinstance(content, bytes):
                return there.read(len(content) + 1) == content
            content.seek(0)
            while True:
                mine, theirs = content.read(_CHUNK), there.read(_CHUNK)
                if mine != theirs:
                    return False
                if not mine:
                    return True
    except FileNotFoundError:
        return False
