"""The rising or falling edge of a Boolean.

After a connect, a reconnect, bad quality or an overflow values may be missing: a high trigger then may be a part that
arrived unseen, or one already judged. Where there is a done flag it can tell, and the decision is RECHECK. Where there
is none, a trigger that was low before and is high now has risen meanwhile (RECOVERED); one that was high before, or was
never seen low, is taken for the same part still: a part asked about twice would look like two.

Debouncing adds no latency: an edge counts at once, and those that follow within the debounce time are ignored and
counted. The view of the PLC is read once the debounce time is over, so that a part that arrived within it is found.
"""

from collections.abc import Sequence
from datetime import datetime

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.detect.detector import Detector
from lineside_opcua_bridge.samples import Sample


class EdgeDetector(Detector):
    """The edges to `active` of one Boolean; `has_done`: there is a done flag that can be read."""

    def __init__(self, debouncer: Debouncer, *, active: bool = True, has_done: bool = True) -> None:
        super().__init__(debouncer)
        self._active = active
        self._has_done = has_done
        self._high: bool | None = None
        """Whether the trigger was active at the last good value."""
        self._handled: datetime | None = None

    def mark_handled(self, source: datetime | None) -> None:
        """Say that the edge with this source timestamp is dealt with: its value, should it come, is no edge."""
        self._handled = source
        self._debouncer.mark_handled(source)

    def is_still_shown(self, sample: Sample, now: Sample) -> bool:
        """Return whether the trigger is still active."""
        del sample
        return now.quality != "bad" and now.value is self._active

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether it fell and became active again, other than by bouncing."""
        fell = False
        for each in later:
            active = each.value is self._active
            if active and fell and not self._debouncer.is_bounce(sample, each):
                return True
            fell = fell or not active
        return False

    def see(self, sample: Sample) -> Detection:
        """Return what a value means; one that is not a Boolean of good or uncertain quality never triggers."""
        if sample.quality == "bad" or not isinstance(sample.value, bool):
            return self._unusable()
        before, self._high, continuous = self._high, sample.value is self._active, self._take_usable(sample)
        if not continuous and self._has_done:
            return Detection(Decision.RECHECK)
        if not self._high or before is not False:
            return Detection(Decision.NONE)
        if sample.source is not None and sample.source == self._handled:
            return Detection(Decision.NONE)
        return self._admit(sample, continuous=continuous)
