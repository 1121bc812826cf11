"""Whether one more record may be kept: pure."""

from dataclasses import dataclass

_SLACK_SHARE = 100
_MAX_SLACK = 16 * 1024 * 1024
_KIB = 1024


@dataclass(frozen=True, slots=True)
class Capacity:
    """The space there is, in bytes.

    `used` of `max_bytes` is evidence; `free` is the disk's free space, of which `reserve` is not ours; `reusable` are
    empty pages of the records' file.
    """

    used: int
    max_bytes: int
    free: int
    reserve: int
    reusable: int = 0

    def lacks(self, size: int, to_write: int) -> int:
        """Return how many bytes too few there are for a record of `size`, of which `to_write` are still to be written.

        0 or less: there is room.
        """
        disk = to_write - max(0, self.free - self.reserve) - self.reusable
        return max(self.used + size - self.max_bytes, disk)

    def after(self, size: int, to_write: int) -> "Capacity":
        """Return what there is when such a record was kept."""
        reused = min(self.reusable, to_write)
        return Capacity(
            self.used + size, self.max_bytes, self.free - (to_write - reused), self.reserve, self.reusable - reused
        )

    def to_free(self, size: int, to_write: int) -> tuple[int, int]:
        """Return how many bytes must be dropped so that it fits, and how many should, so that not every put drops.

        Nothing where dropping cannot help.
        """
        least = self.lacks(size, to_write)
        if size > self.max_bytes or least <= 0:
            return 0, 0
        return least, least + min(self.max_bytes // _SLACK_SHARE, _MAX_SLACK)

    def describe(self, size: int) -> str:
        """Return why a record of `size` does not fit, with the figures."""
        if self.used + size > self.max_bytes:
            return f"{amount(self.used)} of {amount(self.max_bytes)} evidence wait, {amount(size)} more do not fit"
        return (
            f"the disk has {amount(self.free)} left, of which {amount(self.reserve)} are kept free; "
            f"{amount(size)} more do not fit"
        )


def amount(size: int) -> str:
    """Return a number of bytes for people."""
    if size < 10 * _KIB:
        return f"{size} B"
    return f"{size // _KIB} KiB" if size < 10 * _KIB * _KIB else f"{size // _KIB // _KIB} MiB"
