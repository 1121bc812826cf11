"""Many changes of one type at once: a plant's tags are mostly numbers, and come by the thousand.

A run is a stretch of notifications that have the same parts and the same type, which stand right after the client
handle. Where the type has a fixed size all of them have one size, and are read column by column.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import repeat
from struct import Struct

from lineside_opcua_bridge.link.ua_time import timestamps

_MASK, _TYPE = 4, 5
"""Where the DataValue's mask and the Variant's type stand in a notification."""
_GROWTH = 8

Change = tuple[int, object, int, datetime | None, datetime | None]
"""A value that arrived: client handle, value, status code, source and server timestamp."""


def length(body: bytes, at: int, size: int, most: int) -> int:
    """Return how many notifications of `size` bytes from `at` on are alike, 1 to `most`.

    It looks at a few first and then at ever more, so that a mixture of types costs little.
    """
    mask, kind = body[at + _MASK : at + _MASK + 1], body[at + _TYPE : at + _TYPE + 1]
    run = 1
    while run < most:
        step = min(most, _GROWTH * run) - run
        start, stop = at + run * size, at + (run + step) * size
        masks, kinds = body[start + _MASK : stop : size], body[start + _TYPE : stop : size]
        alike = min(len(masks) - len(masks.lstrip(mask)), len(kinds) - len(kinds.lstrip(kind)))
        run += alike
        if alike < step:
            break
    return run


def read(layout: Struct, status: int, source: int, server: int, content: bytes) -> Iterable[Change]:
    """Return the changes of a run; `layout` gives the handle, the value and the others at these places, 0 if absent.

    Raises struct.error where `content` ends in the middle of one.
    """
    columns = list(zip(*layout.iter_unpack(content), strict=True))
    statuses = columns[status] if status > 0 else repeat(0)
    sources = timestamps(columns[source]) if source > 0 else repeat(None)
    if server > 0 and source > 0 and columns[server] == columns[source]:
        servers = sources
    else:
        servers = timestamps(columns[server]) if server > 0 else repeat(None)
    return zip(columns[0], columns[1], statuses, sources, servers, strict=False)  # `repeat` has no end
