"""The write-ahead log of an SQLite file, read without SQLite, which stops without a word at the first damaged frame.

Source of the format: SQLite's public documentation, "Database File Format", section 4.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lineside.spool.store.schema import PAGE

HEADER = 32
FRAME = 24 + PAGE
_MAGIC = 0x377F0682
_MASK = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds, in frames.

    `pages` are the page numbers of all frames of the log's present life, in order; `accepted` of them are taken by
    SQLite. `is_damaged`: a frame behind those does not follow from the one before, so that what was committed there
    may be lost to SQLite; an ordinary crash within a transaction leaves frames that do follow.
    """

    pages: tuple[int, ...] = ()
    accepted: int = 0
    is_damaged: bool = False

    def offset(self, frame: int) -> int:
        """Return where a frame's page begins in the file."""
        return HEADER + frame * FRAME + 24


def read(path: Path) -> Log:
    """Read a log, which need not exist; raises OSError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except FileNotFoundError:
        return Log()


def _read(file: BinaryIO) -> Log:
    header = file.read(HEADER)
    heads = list(_heads(file))
    if len(header) < HEADER or not heads:
        return Log()
    magic, _version, _size, _checkpoint, salts, *proof = struct.unpack(">IIII8sII", header)
    order = "big" if magic & 1 else "little"
    sums = _sums(order, header[:24], (0, 0))
    is_whole = magic | 1 == _MAGIC | 1 and sums == tuple(proof)
    if not is_whole:
        # The first frame is always of the log's present life.
        salts = heads[0][8:16]
    of_now = [place for place, head in enumerate(heads) if head[8:16] == salts]
    # Frames are written one behind the other: one with other salts between those of now was damaged.
    count = of_now[-1] + 1 if of_now else 0
    accepted, follow = _follow(file, heads[:count], salts, order, sums) if is_whole else (0, 0)
    pages = tuple(struct.unpack(">I", head[:4])[0] for head in heads[:count])
    return Log(pages, accepted, is_damaged=follow < count)


def _heads(file: BinaryIO) -> Iterator[bytes]:
    """Yield the heads of all whole frames."""
    at = HEADER
    while True:
        file.seek(at)
        frame = file.read(FRAME)
        if len(frame) < FRAME:
            return
        yield frame[:24]
        at += FRAME


def _follow(file: BinaryIO, heads: list[bytes], salts: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """Return how many frames SQLite takes, up to the last commit, and how many follow from one another."""
    accepted = 0
    for place, head in enumerate(heads):
        page, size, its_salts, *proof = struct.unpack(">II8sII", head)
        file.seek(HEADER + place * FRAME + 24)
        sums = _sums(order, file.read(PAGE), _sums(order, head[:8], sums))
        if page == 0 or its_salts != salts or sums != tuple(proof):
            return accepted, place
        if size:
            accepted = place + 1
    return accepted, len(heads)


def _sums(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Go on with SQLite's checksum over pairs of 32-bit words."""
    first, second = sums
    words = struct.unpack(f"{'>' if order == 'big' else '<'}{len(data) // 4}I", data)
    for left, right in zip(words[::2], words[1::2], strict=True):
        first = (first + left + second) & _MASK
        second = (second + right + first) & _MASK
    return first, second
