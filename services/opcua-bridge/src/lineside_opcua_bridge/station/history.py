"""The last values of one tag, so that a trigger can be answered with the value in force when it rose."""

from collections import deque
from datetime import datetime

from lineside_opcua_bridge.samples import Sample


class History:
    """The last `limit` values of a tag, in the order in which they came."""

    def __init__(self, limit: int) -> None:
        self._samples: deque[tuple[Sample, bool]] = deque(maxlen=limit)
        """Each with whether the line of values before it is whole."""
        self._whole = False

    def add(self, sample: Sample) -> None:
        """Take the next value."""
        self._samples.append((sample, self._whole and not sample.overflow))
        self._whole = True

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one: what is in force now is not known until it comes."""
        self._whole = False

    @property
    def latest(self) -> Sample | None:
        """The value in force now, of whatever quality; None where it is not known."""
        return self._samples[-1][0] if self._samples and self._whole else None

    @property
    def runs(self) -> bool:
        """Whether the last change was stamped later than the value before it; True where there was none."""
        if len(self._samples) < 2:  # noqa: PLR2004 - a change has two sides
            return True
        before, last = self._samples[-2][0].source, self._samples[-1][0].source
        return before is None or last is None or before < last

    def knows(self, read: Sample) -> bool:
        """Whether a value that was read came by the line too, under the very same stamp."""
        return any(
            sample.source is not None and sample.source == read.source and sample.value == read.value
            for sample, _whole in self._samples
        )

    def before(self, ticks: float) -> Sample | None:
        """Return the value that is in force now and came before this instant of ours; None where it changed since."""
        last = self.latest
        return last if last is not None and last.ticks < ticks else None

    def at(self, source: datetime) -> Sample | None:
        """Return the value in force at an instant of the PLC's clock, of whatever quality.

        None where that is not known: before the first value that is kept, between two values where others may be
        missing, and where values carry no source timestamp.
        """
        unbroken = self._whole
        for sample, whole in reversed(self._samples):
            if sample.source is None:
                return None
            if sample.source == source or (sample.source < source and unbroken):
                return sample
            if sample.source < source:
                return None
            unbroken = whole
        return None
