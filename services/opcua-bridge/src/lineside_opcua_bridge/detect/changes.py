"""Any change of a scalar, for instance of a part's id.

The first value is what later ones are compared with. Where values are missing, one that differs from the last one seen
has changed at least once (RECOVERED); one that is the same may have changed and changed back, which is not known. Whole
numbers and fractions are compared as numbers, so that a collector's 1 and 1.0 are the same; a Boolean is no number. NaN
is a value like any other and the same as itself.
"""

from collections.abc import Sequence

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample


class ChangeDetector(Detector):
    """The changes of one tag."""

    def __init__(self, debouncer: Debouncer) -> None:
        super().__init__(debouncer)
        self._value: object = None
        """The last good value; None before the first."""

    def is_still_shown(self, sample: Sample, now: Sample) -> bool:
        """Return whether the tag still has the trigger's value."""
        return now.quality != "bad" and same(sample.value, now.value)

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether it has changed again."""
        return not all(self.is_still_shown(sample, each) for each in later)

    def see(self, sample: Sample) -> Detection:
        """Return what a value means; nothing, an array, or bad quality never triggers."""
        if sample.quality == "bad" or sample.value is None or isinstance(sample.value, list | tuple):
            return self._unusable()
        before, self._value, continuous = self._value, sample.value, self._take_usable(sample)
        if before is None or same(before, sample.value):
            return Detection(Decision.NONE)
        return self._admit(sample, continuous=continuous)


def same(first: object, second: object) -> bool:
    """Whether two scalars are the same value: numbers as numbers, Booleans and text only with their own type."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second or (first != first and second != second)  # noqa: PLR0124 - NaN
    return type(first) is type(second) and first == second
