"""Rows of `records` out of the bytes of a page, without SQLite: what is whole is proven by the row's own checksum.

A row is found by the shape of its header, wherever it stands in a page: a damaged page header, cell pointer or
neighbour hides nothing. Source of the format: SQLite's public documentation, "Database File Format", sections 1.6
(b-tree pages), 2.1 (record format), 1.6.1 (overflow).
"""

import re
from collections.abc import Callable, Iterator, Sequence

from lineside.spool.store.entry import Record, blobs_from_text, checksum
from lineside.spool.store.schema import PAGE

COLUMNS = 12
_MAX_LOCAL = PAGE - 35
_MIN_LOCAL = (PAGE - 12) * 32 // 255 - 23
_VARINT_BYTES = 9
_INTEGERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}
_BLOB, _TEXT = 12, 13
_ODD = 1
# A row's header: its length, one byte with 12 columns, then 0 for `number`, which is the row's id and not stored.
_HEADER = re.compile(rb"(?=[\x0d-\x40]\x00)")

NextPages = Callable[[int], Iterator[bytes]]
"""Gives the contents of overflow pages, from the page of this number on."""


def rows(page: bytes, overflows: Sequence[NextPages]) -> Iterator[Record]:
    """Yield every whole record whose row stands in a page; damaged ones are left out.

    What overflows is sought in every one of `overflows` until the record is whole.
    """
    for match in _HEADER.finditer(page):
        record = _row(page, match.start(), overflows)
        if record is not None:
            yield record


def local_size(payload: int) -> int:
    """Return how many bytes of a payload stand in the page itself; the others overflow."""
    if payload <= _MAX_LOCAL:
        return payload
    size = _MIN_LOCAL + (payload - _MIN_LOCAL) % (PAGE - 4)
    return size if size <= _MAX_LOCAL else _MIN_LOCAL


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that stands there and where the next begins; raises IndexError past the end."""
    value = 0
    for place in range(at, at + _VARINT_BYTES - 1):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, place + 1
    return value << 8 | data[at + _VARINT_BYTES - 1], at + _VARINT_BYTES


def _row(page: bytes, at: int, overflows: Sequence[NextPages]) -> Record | None:
    """Read the row whose header begins at a place; None where there is none, or it is not whole."""
    try:
        number = _before(page, at)
        sizes = _sizes(page, at)
    except IndexError:
        return None
    if sizes is None:
        return None
    size = page[at] + sum(length for _kind, length in sizes)
    local = local_size(size)
    payload = page[at : at + local]
    if local == size:
        return _record(number, payload, sizes)
    pointer = page[at + local : at + local + 4]
    tries = (_record(number, _whole(payload, pointer, size, overflow), sizes) for overflow in overflows)
    return next((record for record in tries if record is not None), None)


def _before(page: bytes, at: int) -> int:
    """Return the row's id, a number that ends right before its header."""
    begin = at - 1
    while begin > 0 and at - begin < _VARINT_BYTES and page[begin - 1] > 0x7F:  # noqa: PLR2004 - more follows
        begin -= 1
    number, end = varint(page, begin)
    if end != at:
        raise IndexError
    return number


def _sizes(page: bytes, at: int) -> list[tuple[int, int]] | None:
    """Read a header: the type and length of every column; None where it is not of a row of `records`."""
    end, place = at + page[at], at + 1
    sizes = []
    while place < end:
        kind, place = varint(page, place)
        if kind >= _BLOB:
            sizes.append((_TEXT if kind & _ODD else _BLOB, (kind - _BLOB) // 2))
        elif kind in _INTEGERS:
            sizes.append((kind, _INTEGERS[kind]))
        else:
            return None
    return sizes if place == end and len(sizes) == COLUMNS else None


def _whole(local: bytes, pointer: bytes, size: int, overflow: NextPages) -> bytes:
    """Put a payload together from its page and the overflow pages that follow."""
    parts, missing = [local], size - len(local)
    for page in overflow(int.from_bytes(pointer, "big")):
        parts.append(page[4 : 4 + missing])
        missing -= len(parts[-1])
        if missing <= 0:
            break
    return b"".join(parts)


def _record(number: int, payload: bytes, sizes: list[tuple[int, int]]) -> Record | None:
    """Make a record of a row and prove it."""
    values: list[int | str | bytes] = []
    at = payload[0]
    if len(payload) != at + sum(length for _kind, length in sizes):
        return None
    try:
        for kind, length in sizes:
            values.append(_value(kind, payload[at : at + length]))
            at += length
    except UnicodeDecodeError:
        return None
    match values:
        case [
            int(),
            str(key),
            str(stream),
            str(folder),
            "always" | "sampled" as kept,
            str(producer),
            int(sequence),
            int(created),
            int(),
            str(blobs),
            bytes(proof),
            bytes(body),
        ]:
            row = (number, key, stream, folder, kept, producer, sequence, created, blobs, body)
            if checksum(row) != proof:
                return None
            return Record(number, key, stream, folder, kept, producer, sequence, created, body, blobs_from_text(blobs))
    return None


def _value(kind: int, data: bytes) -> int | str | bytes:
    if kind == _BLOB:
        return data
    if kind == _TEXT:
        return data.decode()
    return int.from_bytes(data, "big", signed=True) if data else int(kind == 9)  # noqa: PLR2004 - type 9 is the number 1
