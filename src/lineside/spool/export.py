"""Writes all waiting records into a folder, for a box that is emptied by hand. Nothing is deleted from the spool.

The layout is the disk destination's, except that a line names its objects by their path from the line's own file, so
that the folder can be carried away, and that names end in `-export`: both may be written into one folder.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from lineside import capture
from lineside.durable_files import replace_file, sync
from lineside.errors import LinesideError
from lineside.spool.errors import SpoolDamaged
from lineside.spool.spool import Spool
from lineside.spool.store.entry import Record, StoredBlob
from lineside.spool.store.locks import FILE_MODE, FOLDER_MODE

MAX_RECORDS = 2000
MAX_BYTES = 16 * 1024 * 1024
"""Bodies held in memory at a time."""
_PIECE = 1024 * 1024


@dataclass(slots=True)
class Exported:
    """What one call wrote; `damaged` blobs had to be left out, `before` records had been written by earlier calls."""

    records: int = 0
    files: int = 0
    blobs: int = 0
    bytes: int = 0
    damaged: int = 0
    before: int = 0


def export(spool: Spool, to: Path, *, device: str, prefix: str) -> Exported:
    """Write every record of the spool that an earlier call did not write into the same folder.

    Each file is whole or absent, its blobs before it. Called again after it was killed, it writes the last files anew.
    Raises LinesideError where the folder cannot be written; what was written until then stays and counts.
    """
    done = Exported()
    mark = to / f".lineside-export-{device}.json"
    try:
        _folder(to)
        after, done.before = _written(mark, spool)
        for records in _portions(spool.iterate(), after):
            ordered = sorted(records, key=lambda record: (record.stream, record.folder, record.number))
            for _group, together in groupby(ordered, key=lambda record: (record.stream, record.folder)):
                _write_file(spool, list(together), to / prefix, device, done)
            last = records[-1]
            state = {"number": last.number, "key": last.key, "records": done.before + done.records}
            _write(mark, json.dumps(state).encode())
    except OSError as error:
        raise LinesideError(
            f"{to} cannot be written: {error.strerror}; {done.records} records were written",
            remedy="make room or allow it, and call this again: it goes on where it stopped",
        ) from None
    return done


def _portions(records: Iterator[Record], after: int) -> Iterator[list[Record]]:
    """Yield the records behind a number in bounded portions."""
    portion: list[Record] = []
    size = 0
    for record in records:
        if record.number <= after:
            continue
        portion.append(record)
        size += len(record.body)
        if len(portion) >= MAX_RECORDS or size >= MAX_BYTES:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _written(mark: Path, spool: Spool) -> tuple[int, int]:
    """Return the last number written there and how many records; nothing where that was of another spool."""
    try:
        state = json.loads(mark.read_text(encoding="utf-8"))
        number, key, records = int(state["number"]), str(state["key"]), int(state["records"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0, 0
    return (number, records) if spool.find(key) else (0, 0)


def _write_file(spool: Spool, records: list[Record], root: Path, device: str, done: Exported) -> None:
    folder = root / records[0].folder
    lines = []
    for record in records:
        addresses = [_write_blob(spool, blob, folder, done) for blob in record.blobs]
        lines.append(capture.with_references(record.body, addresses) + b"\n")
    text = b"".join(lines)
    _write(folder / capture.file_name(device, f"{records[0].key}-export"), text)
    done.records += len(records)
    done.files += 1
    done.bytes += len(text)


def _write_blob(spool: Spool, blob: StoredBlob, folder: Path, done: Exported) -> str | None:
    """Write a blob, unless it is there already; return its path from the folder, None where it is damaged."""
    path = folder / blob.name
    if not _is_there(path, blob):
        try:
            source = spool.open_blob(blob)
        except SpoolDamaged:
            done.damaged += 1
            return None
        with source:
            _write(path, source)
        done.bytes += blob.size
    done.blobs += 1
    return blob.name


def _is_there(path: Path, blob: StoredBlob) -> bool:
    try:
        if path.stat().st_size != blob.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == blob.digest
    except FileNotFoundError:
        return False


def _folder(path: Path) -> None:
    """Make a folder and those above it, closed to other users as the spool's own; one that is there stays as it is."""
    for each in (*reversed(path.parents), path):
        if not each.exists():
            each.mkdir(FOLDER_MODE, exist_ok=True)


def _write(path: Path, content: bytes | BinaryIO) -> None:
    """Write a file so that after a power cut it is whole or absent."""
    _folder(path.parent)
    replace_file(path, content, mode=FILE_MODE)
    sync(path.parent)
