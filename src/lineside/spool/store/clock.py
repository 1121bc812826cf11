"""Whether the wall clock may decide that evidence is too old: pure, but for reading the two clocks.

A box without network starts in 1970, or is set a year ahead by a bad time server. The clock decides only after it
kept pace with the time since boot for an hour of this process's life.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_JUMP_MS = 60_000
_TRUSTED_AFTER_MS = 3_600_000


def wall_ms() -> int:
    """Return the wall clock, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def boot_ms() -> int:
    """Return the milliseconds since the box's start, sleep too."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(slots=True)
class Clock:
    """Both clocks, and what was seen of them."""

    wall: Callable[[], int] = wall_ms
    boot: Callable[[], int] = boot_ms
    jumped: bool = field(default=False, init=False)
    _start_boot: int = field(default=0, init=False)
    _offset: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._start_boot = self.boot()
        self._offset = self.wall() - self._start_boot

    def is_trusted(self) -> bool:
        """Return whether ages by the wall clock count; call it about once a minute, since it compares with last time.

        A jump of more than a minute between two calls ends the trust for the life of the process; less is a
        clock that is being corrected.
        """
        boot = self.boot()
        offset = self.wall() - boot
        if abs(offset - self._offset) > _JUMP_MS:
            self.jumped = True
        self._offset = offset
        return not self.jumped and boot - self._start_boot >= _TRUSTED_AFTER_MS
