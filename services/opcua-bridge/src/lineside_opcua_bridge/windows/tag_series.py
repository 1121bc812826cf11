"""The last values of one column: instant by the PLC's clock, value, and whether values are missing before it."""

import sys
from array import array
from bisect import bisect_right
from datetime import datetime

from lineside_opcua_bridge.detect.debouncer import EARLY_S
from lineside_opcua_bridge.samples import Sample

AFTER_GAP = 1
"""Values may be missing before this one."""
BAD = 2
"""It is of bad quality or no finite number; so is the column until the next one."""

_GREATEST = sys.float_info.max
_NUMBERS = (int, float)


def microseconds(moment: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, exactly."""
    return round(moment.timestamp() * 1e6)


def instant_of(sample: Sample) -> datetime | None:
    """Return the instant of a value: its source timestamp, or the server timestamp where it has none."""
    return sample.source or sample.server


class TagSeries:
    """The newest values of a column, at least `keep` of them; `late_us` is how far a value may be behind the newest.

    A value without an instant counts as a gap.
    """

    def __init__(self, *, keep: int, late_us: int) -> None:
        self._keep = keep
        self._late_us = late_us
        self.times = array("q")
        """Microseconds since 1970, ascending."""
        self.values = array("d")
        self.flags = bytearray()
        """BROKEN and BAD."""
        self.is_continuous = False
        """Whether no value is missing after the newest one: it holds until the next one comes."""
        self.last_ticks = 0.0
        """When the last value came, by our monotonic clock."""
        self.min_delay_s: float | None = None
        """Our monotonic clock less the PLC's, by the value that arrived fastest; None if unknown."""

    @property
    def newest(self) -> int | None:
        """The instant of the newest value."""
        return self.times[-1] if self.times else None

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        self.is_continuous = False

    @property
    def value_in_force(self) -> float | None:
        """The value now; None where it is not known."""
        return self.values[-1] if self.values and self.is_continuous and not self.flags[-1] & BAD else None

    def add(self, sample: Sample, at: int | None) -> bool:
        """Take the next value, of the instant `at`; return whether the PLC's clock was set before it.

        Then the earlier values are dropped: their instants are of another clock. `at` is `instant_of` the sample, which
        the caller computes once for all columns of a scan.
        """
        self.last_ticks = sample.ticks
        if at is None:
            self.is_continuous = False
            return False
        value = sample.value
        number, flags = 0.0, BAD
        if sample.quality != "bad" and isinstance(value, _NUMBERS) and -_GREATEST <= value <= _GREATEST:
            number, flags = float(value), 0
        is_continuous = self.is_continuous and not sample.overflow
        self.is_continuous = True
        newest = self.times[-1] if self.times else None
        if newest is None:
            self._append(at, number, flags | AFTER_GAP)
        elif is_continuous:
            delay = sample.ticks - at / 1e6
            least = self.min_delay_s
            if at < newest - self._late_us or (least is not None and delay < least - EARLY_S):
                self._restart(at, number, flags, delay)
                return True
            if least is None or delay < least:
                self.min_delay_s = delay
            if at < newest:
                place = bisect_right(self.times, at)
                self.times.insert(place, at)
                self.values.insert(place, number)
                self.flags.insert(place, flags)
            else:
                self._append(at, number, flags)
        elif at < newest:
            self._restart(at, number, flags, None)
        else:  # where it has the newest's instant it is that value again, and nothing is missing between the two
            self.min_delay_s = None
            self._append(at, number, flags | AFTER_GAP)
        return False

    def _restart(self, at: int, number: float, flags: int, delay: float | None) -> None:
        for kept in (self.times, self.values, self.flags):
            del kept[:]
        self.min_delay_s = delay
        self._append(at, number, flags | AFTER_GAP)

    def _append(self, at: int, number: float, flags: int) -> None:
        self.times.append(at)
        self.values.append(number)
        self.flags.append(flags)
        if len(self.times) >= 2 * self._keep:
            for kept in (self.times, self.values, self.flags):
                del kept[: self._keep]
