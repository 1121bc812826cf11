"""Every whole record out of a damaged `records.db`, read page by page from the file and its log, without SQLite.

All versions of a page are read, from the file and from every frame of the log: rows never change, so an older version
holds nothing wrong, only records that may be done with. The caller leaves those out, and duplicates.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Self

from lineside.spool.store import sqlite_rows, wal
from lineside.spool.store.entry import Record
from lineside.spool.store.schema import PAGE


def salvage(path: Path) -> Iterator[Record]:
    """Yield every record of a file that its checksum proves, in no order, some more than once; memory stays flat.

    Raises OSError where the file cannot be read.
    """
    with _Pages(path, path.with_name(path.name + "-wal")) as pages:
        for page in pages:
            yield from sqlite_rows.rows(page, pages.views)


def salvage_log(path: Path, log_path: Path) -> Iterator[Record]:
    """Yield the records of a file's log alone, which need not exist: what SQLite may not have taken from it."""
    if log_path.exists() and path.exists():
        with _Pages(path, log_path) as pages:
            for page in pages.of_log():
                yield from sqlite_rows.rows(page, pages.views)


class _Pages:
    """The pages of a file and of its log."""

    def __init__(self, path: Path, log_path: Path) -> None:
        self._log = wal.read(log_path)
        self._newest = {page: frame for frame, page in enumerate(self._log.pages)}
        self._file: BinaryIO = path.open("rb")
        try:
            self._count = -(-path.stat().st_size // PAGE)
            self._log_file: BinaryIO | None = log_path.open("rb") if self._log.pages else None
        except BaseException:
            self._file.close()
            raise
        # What overflows is first sought as it was last, then as it was before the log.
        self.views = (self._chain_newest, self._chain_before) if self._log.pages else (self._chain_before,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._file.close()
        if self._log_file is not None:
            self._log_file.close()

    def __iter__(self) -> Iterator[bytes]:
        for number in range(1, self._count + 1):
            yield self._before(number)
        yield from self.of_log()

    def of_log(self) -> Iterator[bytes]:
        for frame in range(len(self._log.pages)):
            yield self._frame(frame)

    def _before(self, number: int) -> bytes:
        self._file.seek((number - 1) * PAGE)
        return self._file.read(PAGE)

    def _frame(self, frame: int) -> bytes:
        if self._log_file is None:
            return b""
        self._log_file.seek(self._log.offset(frame))
        return self._log_file.read(PAGE)

    def _newest_or_before(self, number: int) -> bytes:
        return self._frame(self._newest[number]) if number in self._newest else self._before(number)

    def _chain_newest(self, number: int) -> Iterator[bytes]:
        return _chain(number, self._newest_or_before)

    def _chain_before(self, number: int) -> Iterator[bytes]:
        return _chain(number, self._before)


def _chain(number: int, page_of: Callable[[int], bytes]) -> Iterator[bytes]:
    """Yield the pages of a chain, each but once; ends where the file does."""
    seen: set[int] = set()
    while number and number not in seen:
        seen.add(number)
        page = page_of(number)
        if len(page) < PAGE:
            return
        yield page
        number = int.from_bytes(page[:4], "big")
