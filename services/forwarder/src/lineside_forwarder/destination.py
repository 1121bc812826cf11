"""The interface of a destination: what it is given, and what it must guarantee.

An upload is one batch on its way: a file with a capture a line, and an object for each large tensor or image. Paths are
relative to the destination's root (a bucket, a folder) and stay the same however often the batch is sent, so a
repetition writes the same bytes to the same places.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from lineside import capture
from lineside.spool import Batch, Record, StoredBlob
from lineside_forwarder.rate_limiter import RateLimiter

LINES_TYPE = "application/jsonlines"
"""Content type of a batch's file."""


@dataclass(frozen=True, slots=True)
class BatchUpload:
    """A batch with its records; `device` is the box, `root` the first folders of every path, or empty."""

    batch: Batch
    records: tuple[Record, ...]
    device: str
    root: str

    @property
    def folder(self) -> str:
        """Return where everything of it goes, for instance `sme-capture/line/spindle/2026/11/22/02`."""
        return f"{self.root}/{self.batch.folder}" if self.root else self.batch.folder

    @property
    def file_name(self) -> str:
        """Return the name of the file with the lines; it never changes."""
        return capture.file_name(self.device, self.batch.name)

    @property
    def path(self) -> str:
        """Return the path of the file with the lines."""
        return f"{self.folder}/{self.file_name}"

    def objects(self) -> Iterator[tuple[str, StoredBlob]]:
        """Yield each blob of all records with the path that it gets; they go before the lines that name them."""
        for record in self.records:
            for blob in record.blobs:
                yield f"{self.folder}/{blob.name}", blob

    def jsonl(self, addresses: Mapping[str, str | None]) -> bytes:
        """Return the lines. `addresses` maps the path of each object to its address, None where it was damaged."""
        lines = []
        for record in self.records:
            found = [addresses[f"{self.folder}/{blob.name}"] for blob in record.blobs]
            lines.append(capture.with_references(record.body, found))
        return b"".join(line + b"\n" for line in lines)


class BlobSource(Protocol):
    """Gives the bytes of blobs."""

    async def open(self, blob: StoredBlob) -> BinaryIO | None:
        """Open a blob whose bytes are verified, at its start; None: it is damaged or gone, which its line then says.

        The caller closes it. Reading it blocks: read it in a thread.
        """
        ...


class Destination(Protocol):
    """Somewhere evidence goes.

    Up to four batches of different streams are delivered at once; those of one stream come one after the other.
    """

    name: str
    target: str
    """What people see as its address, without secrets."""

    async def start(self) -> None:
        """Prepare without using the network; `deliver` connects."""
        ...

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        """Bring all of it and return when it is durable there: the objects first, then the file with the lines.

        Raises ForwarderError. May be cancelled, and is repeated after anything but a return.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
