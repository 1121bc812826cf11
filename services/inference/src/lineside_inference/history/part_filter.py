"""Whether a file may have a part id, told without looking into it: a Bloom filter of the part ids of a file.

So a search of one part reads the disk for the files that have it, and for about one in a hundred of the others.
"""

import hashlib
from collections.abc import Iterable, Iterator

_BITS_A_PART = 10
_PROBES = 7
_LEAST_BYTES = 64


def make(part_ids: Iterable[str], count: int) -> bytes:
    """Return the filter of about `count` part ids."""
    size = max(_LEAST_BYTES, count * _BITS_A_PART // 8)
    bits = bytearray(size)
    for part_id in part_ids:
        for at in _places(part_id, size):
            bits[at >> 3] |= 1 << (at & 7)
    return bytes(bits)


def may_have(bits: bytes, part_id: str) -> bool:
    """Return False where the part id was not among those of the filter."""
    return all(bits[at >> 3] & (1 << (at & 7)) for at in _places(part_id, len(bits)))


def _places(part_id: str, size: int) -> Iterator[int]:
    digest = hashlib.blake2b(part_id.encode(errors="backslashreplace"), digest_size=16).digest()
    first, step = int.from_bytes(digest[:8]), int.from_bytes(digest[8:]) | 1
    return ((first + probe * step) % (size * 8) for probe in range(_PROBES))
