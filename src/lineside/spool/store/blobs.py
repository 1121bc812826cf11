"""Blobs: large parts of records, each a file below the spool's folder, synced before the record that names it."""

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO

from lineside.durable_files import replace_file, sync
from lineside.spool.store.entry import Blob, StoredBlob
from lineside.spool.store.locks import FILE_MODE, FOLDER_MODE

FOLDER = "blobs"
_CHUNK = 1024 * 1024


class Blobs:
    """The files of a spool's blobs."""

    def __init__(self, folder: Path) -> None:
        self._root = folder

    def write(self, blobs: Sequence[Blob]) -> tuple[StoredBlob, ...]:
        """Write blobs and return when all are on the disk; on an error none is left. Raises OSError."""
        if not blobs:
            return ()
        names = [uuid.uuid4().hex for _ in blobs]
        shelf = names[0][:2]  # one folder for all, so that one sync of it makes all names durable
        place = self._root / FOLDER / shelf
        stored: list[StoredBlob] = []
        try:
            if not place.is_dir():
                place.mkdir(mode=FOLDER_MODE, exist_ok=True)
                sync(place.parent)
            for name, blob in zip(names, blobs, strict=True):
                path = place / f"{shelf}{name[2:]}.blob"
                file = path.relative_to(self._root).as_posix()
                digest = hashlib.sha256(blob.data).digest()
                stored.append(StoredBlob(blob.name, blob.content_type, file, len(blob.data), digest))
                write_file(path, blob.data)
            sync(place)
        except BaseException:
            self.delete(blob.file for blob in stored)
            raise
        return tuple(stored)

    def open(self, blob: StoredBlob) -> BinaryIO | None:
        """Open a blob whose bytes are as they were written; None where they are not, or it is gone. Raises OSError."""
        try:
            file = (self._root / blob.file).open("rb")
        except FileNotFoundError:
            return None
        try:
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            if digest.digest() != blob.digest:
                file.close()
                return None
            file.seek(0)
        except BaseException:
            file.close()
            raise
        return file

    def delete(self, files: Iterable[str]) -> None:
        """Delete blobs and what is left of their writing; those that are gone already are no error. Raises OSError."""
        for file in files:
            path = self._root / file
            path.unlink(missing_ok=True)
            path.with_suffix(".new").unlink(missing_ok=True)

    def files(self) -> list[str]:
        """Return all files that are there. Raises OSError."""
        return [path.relative_to(self._root).as_posix() for path in (self._root / FOLDER).glob("??/*")]


def write_file(path: Path, data: bytes) -> None:
    """Write a file of the spool so that it is whole or absent; its folder is to be synced after. Raises OSError."""
    replace_file(path, data, mode=FILE_MODE, draft=path.with_suffix(".new"))
