"""Which changes of a boolean node are a part arriving: the rising edge, debounced, with nothing assumed.

A value is trusted only while the line of values before it is whole. After a connect, a reconnect, bad quality or an
overflow the line is broken: a True then may be a part that arrived unseen, or one already judged, and only the PLC's
done flag can tell, so the answer is LOOK. Debounce adds no latency: an edge counts at once, and those that follow
within the window are ignored and counted; the station looks at the PLC's done flag once the window is over, so that
a part that arrived within it is found all the same.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from lineside_opcua_bridge.samples import Sample


class Decision(StrEnum):
    """What one value of the trigger means."""

    EDGE = "accepted"
    DEBOUNCED = "debounced"
    BAD = "bad_quality"
    LOOK = "look"
    NONE = "none"


class EdgeDetector:
    """The rising edges of one trigger. `debounce_s` in seconds."""

    def __init__(self, debounce_s: float) -> None:
        self._debounce = timedelta(seconds=debounce_s)
        self._level: bool | None = None
        self._whole = False
        self._accepted: Sample | None = None
        self._known_rise: datetime | None = None

    def doubt(self) -> None:
        """Say that values may have been missed: the next good value decides what to do."""
        self._whole = False

    def know(self, source: datetime | None) -> None:
        """Say that the rise with this source timestamp is dealt with: its notification, should it come, is no edge."""
        self._known_rise = source

    def see(self, sample: Sample) -> Decision:
        """Return what a value means; a value that is not a boolean of good or uncertain quality never triggers."""
        if sample.quality == "bad" or not isinstance(sample.value, bool):
            self._whole = False
            return Decision.BAD
        before, whole = self._level, self._whole and not sample.overflow
        self._level, self._whole = sample.value, True
        if not whole:
            return Decision.LOOK
        if not sample.value or before:
            return Decision.NONE
        if sample.source is not None and sample.source == self._known_rise:
            return Decision.NONE
        if self._accepted is not None and _apart(self._accepted, sample) < self._debounce:
            return Decision.DEBOUNCED
        self._accepted = sample
        return Decision.EDGE


def _apart(first: Sample, second: Sample) -> timedelta:
    """Return the time between two values: by the PLC's clock where it gives one that runs forward, else by ours."""
    if first.source is not None and second.source is not None and second.source >= first.source:
        return second.source - first.source
    return timedelta(seconds=second.ticks - first.ticks)
