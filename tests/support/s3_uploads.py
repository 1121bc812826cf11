"""Uploads of captures, their blobs as files, and a rate limiter that only counts."""

import asyncio
import hashlib
import io
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lineside.spool import Batch, Entry, Record, StoredBlob
from lineside_forwarder.destination import BatchUpload
from tests.support.forwarding import entry


@dataclass
class Blobs:
    """Blobs in a folder; those in `damaged` are not given. `opened` are the files that were given."""

    folder: Path
    damaged: set[str] = field(default_factory=set)
    opened: list[BinaryIO] = field(default_factory=list)

    async def open(self, blob: StoredBlob) -> BinaryIO | None:
        if blob.name in self.damaged:
            return None
        file = await asyncio.to_thread((self.folder / blob.file).open, "rb")
        self.opened.append(file)
        return file

    def upload(self, entries: Sequence[Entry], *, root: str = "sme-capture", device: str = "box") -> BatchUpload:
        """Return entries as a batch on its way."""
        records = tuple(self._record(number, entry) for number, entry in enumerate(entries, 1))
        first = records[0]
        numbers = tuple(record.number for record in records)
        batch = Batch(1, first.key, first.stream, first.folder, numbers, sum(record.size for record in records))
        return BatchUpload(batch, records, device=device, root=root)

    def _record(self, number: int, entry: Entry) -> Record:
        stored = []
        for blob in entry.blobs:
            file = f"{uuid.uuid4()}.blob"
            (self.folder / file).write_bytes(blob.data)
            digest = hashlib.sha256(blob.data).digest()
            stored.append(StoredBlob(blob.name, blob.content_type, file, len(blob.data), digest))
        return Record(
            number=number,
            key=entry.key,
            stream=entry.stream,
            folder=entry.folder,
            kept=entry.kept,
            producer="test",
            sequence=number,
            created_ms=0,
            body=entry.body,
            blobs=tuple(stored),
        )


@dataclass
class Counting:
    """A rate limiter that never waits, and keeps what was spent."""

    spent: list[int] = field(default_factory=list)

    async def spend(self, amount: int) -> None:
        self.spent.append(amount)


class MemoryBlobs:
    """Blobs in memory, by digest; what is not there is damaged."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    async def open(self, blob: StoredBlob) -> BinaryIO | None:
        data = self.data.get(blob.digest)
        return None if data is None else io.BytesIO(data)


def upload_of(blobs: MemoryBlobs, *images: bytes, first: int = 1, model: str = "spindle") -> BatchUpload:
    """Return a batch with a capture for each image; an image of more than 100 bytes is an object of its own."""
    records = []
    for number, image in enumerate(images, first):
        made = entry(f"capture-{number}", model, image=image, embed_limit=100)
        stored = []
        for blob in made.blobs:
            digest = hashlib.sha256(blob.data).digest()
            blobs.data[digest] = blob.data
            stored.append(StoredBlob(blob.name, blob.content_type, "unused", len(blob.data), digest))
        records.append(
            Record(number, made.key, made.stream, made.folder, "always", "test", number, 0, made.body, tuple(stored))
        )
    numbers = tuple(record.number for record in records)
    batch = Batch(1, records[0].key, model, records[0].folder, numbers, sum(record.size for record in records))
    return BatchUpload(batch, tuple(records), device="box", root="sme-capture")
