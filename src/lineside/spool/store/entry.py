"""The values that are put into the spool and read from it, and the checksum over a whole record."""

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

Kept = Literal["always", "sampled"]
"""Why a record is kept: `always` is never dropped; `sampled` may be, where the settings say so."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A large part of a record, which becomes a file of its own.

    `name` is its path at the destination below the record's folder, for instance
    `raw-data/input-tensors/<event id>-image.bin`: relative, no `..`, unique.
    """

    name: str
    data: bytes
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Entry:
    """One record to be kept.

    `key` is the request's id: a second put of the same key keeps nothing and says so. Order is kept within a
    `stream` (the model). `folder` is where it belongs at every destination, for instance
    `<fleet>/<model>/2026/11/22/02`; a batch never spans two folders. `body` is one line of JSON without its end,
    in which `"data-ref":"spool:<n>"` stands for the nth blob.
    """

    key: str
    stream: str
    folder: str
    body: bytes
    kept: Kept = "always"
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """That a record is on the disk: its number in the spool; `is_new` is False where its key was known already."""

    number: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """A blob on the disk: `file` is its path below the spool's folder, `digest` the SHA-256 of its bytes."""

    name: str
    content_type: str
    file: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was kept. `number` goes up by commit; `sequence` counts without a gap by producer."""

    number: int
    key: str
    stream: str
    folder: str
    kept: Kept
    producer: str
    sequence: int
    created_ms: int
    body: bytes
    blobs: tuple[StoredBlob, ...]

    @property
    def size(self) -> int:
        """Return the bytes of body and blobs."""
        return len(self.body) + sum(blob.size for blob in self.blobs)


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one stream and folder that go together, in order; `name` is the key of the first, for ever."""

    number: int
    name: str
    stream: str
    folder: str
    numbers: tuple[int, ...]
    size: int


def blobs_to_text(blobs: tuple[StoredBlob, ...]) -> str:
    """Return the blobs of a record as they stand in its row."""
    rows = [[blob.name, blob.content_type, blob.file, blob.size, blob.digest.hex()] for blob in blobs]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False) if rows else ""


def blobs_from_text(text: str) -> tuple[StoredBlob, ...]:
    """Read what `blobs_to_text` wrote; raises ValueError where it is something else."""
    if not text:
        return ()
    rows = json.loads(text)
    return tuple(StoredBlob(name, kind, file, size, bytes.fromhex(digest)) for name, kind, file, size, digest in rows)


def checksum(row: tuple[int, str, str, str, str, str, int, int, str, bytes]) -> bytes:
    """Return the SHA-256 over a whole row: from number to sequence, created, blobs, and last the body."""
    number, key, stream, folder, kept, producer, sequence, created_ms, blobs, body = row
    head = f"{number}\0{key}\0{stream}\0{folder}\0{kept}\0{producer}\0{sequence}\0{created_ms}\0{blobs}\0"
    digest = hashlib.sha256(head.encode())
    digest.update(body)
    return digest.digest()
