"""Decodes many consecutive changes of one type at once: most tags are numbers, and thousands come together.

A run is a sequence of notifications with the same DataValue mask and the same type, the two bytes after the client
handle. Where the type has a fixed size all of them have one size, and are read column by column.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from struct import Struct

from lineside_opcua_bridge.link.ua_time import timestamps

_MASK, _TYPE = 4, 5
"""Offsets of the DataValue's mask and the Variant's type in a notification."""
_GROWTH = 8

Change = tuple[int, object, int, datetime | None, datetime | None]
"""A notified value: client handle, value, status code, source and server timestamp."""


def length(body: bytes, at: int, size: int, limit: int) -> int:
    """Return how many notifications of `size` bytes from offset `at` on are of one run, 1 to `limit`.

    A few are compared first and then ever more, so that a mixture of types costs little.
    """
    mask, kind = body[at + _MASK : at + _MASK + 1], body[at + _TYPE : at + _TYPE + 1]
    run = 1
    while run < limit:
        step = min(limit, _GROWTH * run) - run
        start, stop = at + run * size, at + (run + step) * size
        masks, kinds = body[start + _MASK : stop : size], body[start + _TYPE : stop : size]
        alike = min(len(masks) - len(masks.lstrip(mask)), len(kinds) - len(kinds.lstrip(kind)))
        run += alike
        if alike < step:
            break
    return run


def read(layout: Struct, status: int, source: int, server: int, content: bytes) -> Iterable[Change]:
    """Return the changes of a run; `status`, `source` and `server` are their indices in `layout`, 0 if absent.

    Handle and value are the first two. Raises struct.error where `content` ends within a change.
    """
    columns = list(zip(*layout.iter_unpack(content), strict=True))
    statuses = columns[status] if status > 0 else repeat(0)
    sources = timestamps(columns[source]) if source > 0 else repeat(None)
    if server > 0 and source > 0 and columns[server] == columns[source]:
        servers = sources
    else:
        servers = timestamps(columns[server]) if server > 0 else repeat(None)
    return zip(columns[0], columns[1], statuses, sources, servers, strict=False)  # `repeat` has no end
