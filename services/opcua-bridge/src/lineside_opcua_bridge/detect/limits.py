"""A number crosses a limit, and must come back by the hysteresis before it can cross again.

    above 80, hysteresis 5:  79 inside | 81 crosses | 78 still outside | 75 inside again | 80 inside | 80.1 crosses

The first value only shows on which side it is. Where values are missing, one that is outside after one inside has
crossed meanwhile (RECOVERED); one that was outside before and still is may have come back between, which is not known.
"""

from collections.abc import Sequence
from typing import TypeGuard

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample


class LimitDetector(Detector):
    """The crossings of one limit, upwards past `above` or downwards past `below`; exactly one is given."""

    def __init__(self, debouncer: Debouncer, *, above: float | None, below: float | None, hysteresis: float) -> None:
        super().__init__(debouncer)
        self._above, self._below, self._hysteresis = above, below, hysteresis
        self._outside: bool | None = None

    def is_still_shown(self, sample: Sample, now: Sample) -> bool:
        """Return whether the value is still beyond the limit."""
        del sample
        return now.quality != "bad" and _is_number(now.value) and self._is_outside(now.value)

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether it came back, so that it may have crossed again."""
        return not all(self.is_still_shown(sample, each) for each in later)

    def see(self, sample: Sample) -> Detection:
        """Return what a value means; what is no number, NaN among it, or of bad quality never triggers."""
        value = sample.value
        if sample.quality == "bad" or not _is_number(value):
            return self._unusable()
        before, self._outside, continuous = self._outside, self._is_outside(value), self._take_usable(sample)
        if not self._outside or before is not False:
            return Detection(Decision.NONE)
        return self._admit(sample, continuous=continuous)

    def _is_outside(self, value: float) -> bool:
        back = self._hysteresis if self._outside else 0.0
        if self._above is not None:
            return value > self._above - back
        return self._below is not None and value < self._below + back


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN
