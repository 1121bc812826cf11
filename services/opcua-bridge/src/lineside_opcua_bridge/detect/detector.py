"""What all detectors share: whether values may be missing, and the debouncer."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.samples import Sample


class Detector(ABC):
    """Detects which values of one trigger are a part."""

    def __init__(self, debouncer: Debouncer) -> None:
        self._debouncer = debouncer
        self._is_continuous = False

    @abstractmethod
    def see(self, sample: Sample) -> Detection:
        """Return what the next value means."""

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        self._is_continuous = False

    def mark_handled(self, source: datetime | None) -> None:
        """Say that the edge with this source timestamp is dealt with: its value, should it come, is no trigger.

        Only an edge can be seen in a view before its value is notified; other detectors ignore this.
        """
        del source

    def is_still_shown(self, sample: Sample, now: Sample) -> bool:
        """Return whether the tag, read as `now`, still shows the trigger `sample`; False if unknown."""
        del sample, now
        return False

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether values that came after `sample` show another trigger."""
        del sample
        return bool(later)

    def not_asked(self) -> None:
        """Say that the last trigger became no request: the minimum interval counts from the one before."""
        self._debouncer.not_asked()

    def _unusable(self) -> Detection:
        self._is_continuous = False
        return Detection(Decision.BAD)

    def _take_usable(self, sample: Sample) -> bool:
        """Take a usable value; return whether no value is missing before it."""
        continuous = self._is_continuous and not sample.overflow
        self._is_continuous = True
        self._debouncer.watch(sample, fresh=continuous)
        return continuous

    def _admit(self, sample: Sample, *, continuous: bool, missed: int = 0) -> Detection:
        """Return what a value means that shows a part, by the debouncer."""
        return Detection(self._debouncer.admit(sample, Decision.FIRED if continuous else Decision.RECOVERED), missed)
