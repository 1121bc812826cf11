"""What every detector shares: a line of values that is whole or broken, and the pace of what counts."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.decisions import Decision, Detection
from lineside_opcua_bridge.samples import Sample


class Detector(ABC):
    """Which values of one trigger are a part."""

    def __init__(self, pace: Debouncer) -> None:
        self._pace = pace
        self._whole = False

    @abstractmethod
    def see(self, sample: Sample) -> Detection:
        """Return what the next value means."""

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        self._whole = False

    def know(self, source: datetime | None) -> None:
        """Say that the edge with this source timestamp is dealt with: should its value come, it is none.

        Only an edge has a level that can be looked at, before its value comes; the others pay no heed.
        """
        del source

    def stands(self, sample: Sample, now: Sample) -> bool:
        """Return whether the PLC, which shows `now`, still stands where the trigger `sample` came; False if unknown."""
        del sample, now
        return False

    def is_followed(self, sample: Sample, later: Sequence[Sample]) -> bool:
        """Return whether values that came after `sample` show another trigger."""
        del sample
        return bool(later)

    def not_asked(self) -> None:
        """Say that the last one that counted became no request: the least interval goes on from the one before."""
        self._pace.not_asked()

    def _unusable(self) -> Detection:
        self._whole = False
        return Detection(Decision.BAD)

    def _joins(self, sample: Sample) -> bool:
        """Put a usable value on the line; return whether the line before it is whole."""
        whole = self._whole and not sample.overflow
        self._whole = True
        self._pace.watch(sample, fresh=whole)
        return whole

    def _counts(self, sample: Sample, *, whole: bool, missed: int = 0) -> Detection:
        """Return what a value means that shows a part."""
        return Detection(self._pace.admit(sample, Decision.FIRED if whole else Decision.RECOVERED), missed)
