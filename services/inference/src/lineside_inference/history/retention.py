"""Which files of a history are given up: pure. What goes is whole files, the oldest first, never the one in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DAY_MS = 86_400_000
PARTS_OF_BOUND = 16
"""A file is at most this part of all bytes, so that a bound that is reached costs a small share of the history."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file as retention sees it; `newest` is the instant of its newest part in milliseconds, None where unknown."""

    path: Path
    bytes: int
    newest: int | None


def too_old(files: Sequence[Kept], *, now_ms: int, days: float) -> list[Path]:
    """Return files, oldest first and but for the last, of which every part is older than so many days."""
    bound = now_ms - round(days * DAY_MS)
    return [file.path for file in files[:-1] if file.newest is not None and file.newest < bound]


def too_many(files: Sequence[Kept], *, max_bytes: int) -> list[Path]:
    """Return files, oldest first and but for the last, that must go for the rest to have at most `max_bytes`."""
    gone: list[Path] = []
    total = sum(file.bytes for file in files)
    for file in files[:-1]:
        if total <= max_bytes:
            break
        gone.append(file.path)
        total -= file.bytes
    return gone


def is_due(*, day: int, first_day: int, bytes_used: int, max_bytes: int) -> bool:
    """Return whether a new file begins: on another day, or where one has its share of the bytes.

    A clock that was set back over midnight begins none.
    """
    return day not in {first_day, first_day - 1} or bytes_used >= max_bytes // PARTS_OF_BOUND
