"""A whole number that goes up by one with every part.

It is the one trigger that shows how many parts were missed: where it goes up by more than one, the last part is asked
about and the others are reported as missed, whether values were lost or the PLC counted faster than it was sampled.
Where it goes down it has wrapped, if `wraps_at` is given and that is the smaller difference; else it was reset, and
counting begins again at this value: how many parts came since the reset is not known.
"""

from collections.abc import Sequence

from lineside_opcua_bridge.detect.changes import same
from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample


class CounterDetector(Detector):
    """The increments of one counter; `wraps_at` is the largest value, after which it goes on from 0."""

    def __init__(self, debouncer: Debouncer, *, wraps_at: int | None) -> None:
        super().__init__(debouncer)
        self._wraps_at = wraps_at
        self._count: int | None = None

    def is_still_shown(self, sample: Sample, now: Sample) -> bool:
        """Return whether the tag still has the trigger's value."""
        return now.quality != "bad" and same(sample.value, now.value)

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether it has changed again."""
        return not all(self.is_still_shown(sample, each) for each in later)

    def see(self, sample: Sample) -> Detection:
        """Return what a value means, and how many parts were missed before its own."""
        count = _whole_number(sample.value)
        if sample.quality == "bad" or count is None:
            return self._unusable()
        before, self._count, continuous = self._count, count, self._take_usable(sample)
        more = 0 if before is None else self._went_up(before, count)
        if more == 0:
            return Detection(Decision.NONE)
        return self._admit(sample, continuous=continuous, missed=more - 1)

    def _went_up(self, before: int, count: int) -> int:
        if count >= before:
            return count - before
        if self._wraps_at is None or before > self._wraps_at:
            return 0
        forward = count + self._wraps_at + 1 - before
        return forward if forward < before - count else 0


def _whole_number(value: object) -> int | None:
    """Return a whole number, from a collector's 3.0 too."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
