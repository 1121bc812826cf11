"""How soon a trigger may follow another: the debounce time after a trigger, and the minimum time between requests.

Time is the PLC's where it runs forward, for values that waited in the server's queue arrive together; else it is ours.
That the PLC's clock was set shows in two ways: a source timestamp that goes back, or one that is early, for a value can
arrive late but never before it was made. Then the time since the last trigger is taken by our clock, so that a step of
an hour neither blocks triggers nor lets a bounce through.
"""

from dataclasses import dataclass
from datetime import datetime

from lineside_opcua_bridge.detect.decisions import Decision
from lineside_opcua_bridge.samples import Sample

EARLY_S = 10.0
"""By how many seconds the delay of a value may be shorter than all before it; more means that the clock was set.

Values that are published or collected in batches are delayed by up to a batch's length, which varies.
"""


@dataclass(frozen=True)
class _Mark:
    """When a trigger counted: by the PLC's clock while that can be used, and by ours where its value was seen."""

    source: datetime | None
    ticks: float | None


class Debouncer:
    """The last trigger that counted and the last that became a request. Both parameters in seconds."""

    def __init__(self, debounce_s: float, min_interval_s: float) -> None:
        self._debounce_s = debounce_s
        self._min_interval_s = min_interval_s
        self._counted: _Mark | None = None
        self._asked: _Mark | None = None
        self._asked_before: _Mark | None = None
        self._last: datetime | None = None
        self._least_late: float | None = None

    def watch(self, sample: Sample, *, fresh: bool = True) -> None:
        """Check the PLC's clock by a value; without `fresh` it may be old, as the first of a subscription is."""
        if sample.source is None:
            return
        late = sample.ticks - sample.source.timestamp()
        back = self._last is not None and sample.source < self._last
        early = fresh and self._least_late is not None and late < self._least_late - EARLY_S
        if back or early:
            self._counted, self._asked, self._asked_before = (
                _by_ours(mark) for mark in (self._counted, self._asked, self._asked_before)
            )
            self._least_late = None
        if fresh:
            self._least_late = late if self._least_late is None else min(late, self._least_late)
        self._last = sample.source

    def admit(self, sample: Sample, decision: Decision = Decision.FIRED) -> Decision:
        """Return `decision` and count from this value on, or return DEBOUNCED or TOO_SOON."""
        if _within(self._counted, sample, self._debounce_s):
            return Decision.DEBOUNCED
        if _within(self._asked, sample, self._min_interval_s):
            return Decision.TOO_SOON
        self._counted = _Mark(sample.source, sample.ticks)
        self._asked, self._asked_before = self._counted, self._asked
        return decision

    def is_bounce(self, sample: Sample, later: Sample) -> bool:
        """Whether a value is within the debounce time after one that counted."""
        return _within(_Mark(sample.source, sample.ticks), later, self._debounce_s)

    def not_asked(self) -> None:
        """Take it that the last one admitted became no request; the debounce time still counts from it."""
        self._asked = self._asked_before

    def mark_handled(self, source: datetime | None) -> None:
        """Take it that a trigger with this source timestamp was asked about before its value was seen."""
        seen = self._counted is not None and self._counted.source == source
        if source is not None and not seen and (self._last is None or source >= self._last):
            self._counted = self._asked = _Mark(source, None)


def _by_ours(mark: _Mark | None) -> _Mark | None:
    return None if mark is None or mark.ticks is None else _Mark(None, mark.ticks)


def _within(mark: _Mark | None, sample: Sample, window_s: float) -> bool:
    if mark is None:
        return False
    if mark.source is not None and sample.source is not None and sample.source >= mark.source:
        return (sample.source - mark.source).total_seconds() < window_s
    return mark.ticks is not None and sample.ticks - mark.ticks < window_s
