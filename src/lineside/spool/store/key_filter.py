"""Which keys are surely not in the table `outcomes`, so that a put of a new key does not read that table."""

from collections.abc import Iterable

_BITS = 23
_MASK = (1 << _BITS) - 1
_MAX_KEYS = 1 << 18


class KeyFilter:
    """A Bloom filter of 1 MiB over the keys of deleted records; it may say yes of a key that is not there, never no.

    `left` is how many records had left the spool as it was last brought up to date, and `last` the number of the last
    row of `outcomes` that it has.
    """

    def __init__(self) -> None:
        self.start_over()

    def start_over(self) -> None:
        """Forget all: the files were repaired, or too many keys are in it."""
        self.left: int | None = None
        self.last = 0
        self._added = 0
        self._bits = bytearray(1 << (_BITS - 3))

    @property
    def is_full(self) -> bool:
        """Return whether so many keys are in it that it says yes wrongly of one key in a thousand."""
        return self._added >= _MAX_KEYS

    def add(self, left: int, rows: Iterable[tuple[int, str]]) -> None:
        """Take in more rows of `outcomes`, number and key, in order."""
        bits = self._bits
        for number, key in rows:
            self.last = number
            self._added += 1
            places = hash(key)
            for place in (places & _MASK, places >> _BITS & _MASK):
                bits[place >> 3] |= 1 << (place & 7)
        self.left = left

    def may_have(self, key: str) -> bool:
        """Return whether a key may be one of them; False is sure."""
        places = hash(key)
        first, second = places & _MASK, places >> _BITS & _MASK
        bits = self._bits
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)
