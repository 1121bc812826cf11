"""The values of one column as they came: when by the PLC's clock, how much, and whether anything is missing before."""

import sys
from array import array
from bisect import bisect_right
from datetime import datetime

from lineside_opcua_bridge.detect.debouncer import EARLY_S
from lineside_opcua_bridge.samples import Sample

BROKEN = 1
"""Values may be missing before this one."""
BAD = 2
"""It is of bad quality or no finite number, and stands until the next one."""

_GREATEST = sys.float_info.max
_NUMBERS = (int, float)


def microseconds(moment: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly."""
    return round(moment.timestamp() * 1e6)


def placed(sample: Sample) -> datetime | None:
    """Return the instant of a value: its source timestamp, or the server's where the source gives none."""
    return sample.source or sample.server


class TagSeries:
    """The newest values of a column, at least `keep` of them; `late_us` is how far a value may lie behind the newest.

    A value without an instant cannot be placed and breaks the line.
    """

    def __init__(self, *, keep: int, late_us: int) -> None:
        self._keep = keep
        self._late_us = late_us
        self.times = array("q")
        """Microseconds since 1970, ascending."""
        self.values = array("d")
        self.flags = bytearray()
        """BROKEN and BAD."""
        self.whole = False
        """Whether the newest value is the column's value until the next one comes."""
        self.seen = 0.0
        """When the last value came, by our monotonic clock."""
        self.least_late_s: float | None = None
        """How far our monotonic clock is ahead of the PLC's, by the value that was fastest here; None if unknown."""

    @property
    def newest(self) -> int | None:
        """The instant of the newest value."""
        return self.times[-1] if self.times else None

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        self.whole = False

    @property
    def in_force(self) -> float | None:
        """The value now; None where it is not known."""
        return self.values[-1] if self.values and self.whole and not self.flags[-1] & BAD else None

    def add(self, sample: Sample, at: int | None) -> bool:
        """Take the next value, which belongs to the instant `at`; return whether the PLC's clock was set before it.

        Then what came before is forgotten, for it is of another clock. `at` is what `placed` says of the sample: the
        columns of one scan have it in common.
        """
        self.seen = sample.ticks
        if at is None:
            self.whole = False
            return False
        value = sample.value
        number, flags = 0.0, BAD
        if sample.quality != "bad" and isinstance(value, _NUMBERS) and -_GREATEST <= value <= _GREATEST:
            number, flags = float(value), 0
        whole = self.whole and not sample.overflow
        self.whole = True
        newest = self.times[-1] if self.times else None
        if newest is None:
            self._append(at, number, flags | BROKEN)
        elif whole:
            late = sample.ticks - at / 1e6
            least = self.least_late_s
            if at < newest - self._late_us or (least is not None and late < least - EARLY_S):
                self._start_anew(at, number, flags, late)
                return True
            if least is None or late < least:
                self.least_late_s = late
            if at < newest:
                place = bisect_right(self.times, at)
                self.times.insert(place, at)
                self.values.insert(place, number)
                self.flags.insert(place, flags)
            else:
                self._append(at, number, flags)
        elif at < newest:
            self._start_anew(at, number, flags, None)
        else:  # at the newest's own instant it is that very value, and nothing is missing between the two
            self.least_late_s = None
            self._append(at, number, flags | BROKEN)
        return False

    def _start_anew(self, at: int, number: float, flags: int, late: float | None) -> None:
        for kept in (self.times, self.values, self.flags):
            del kept[:]
        self.least_late_s = late
        self._append(at, number, flags | BROKEN)

    def _append(self, at: int, number: float, flags: int) -> None:
        self.times.append(at)
        self.values.append(number)
        self.flags.append(flags)
        if len(self.times) >= 2 * self._keep:
            for kept in (self.times, self.values, self.flags):
                del kept[: self._keep]
