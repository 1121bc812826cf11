"""The last values of one tag, from which the value in force when a trigger rose can be told."""

from collections import deque
from datetime import datetime

from lineside_opcua_bridge.samples import Sample


class History:
    """The last `limit` values of a tag, in the order of their notification."""

    def __init__(self, limit: int) -> None:
        self._samples: deque[tuple[Sample, bool]] = deque(maxlen=limit)
        """Each with whether no value is missing before it."""
        self._is_continuous = False

    def add(self, sample: Sample) -> None:
        """Take the next value."""
        self._samples.append((sample, self._is_continuous and not sample.overflow))
        self._is_continuous = True

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one: the value in force is not known until it comes."""
        self._is_continuous = False

    @property
    def latest(self) -> Sample | None:
        """The value in force now, of whatever quality; None where it is not known."""
        return self._samples[-1][0] if self._samples and self._is_continuous else None

    @property
    def is_ordered(self) -> bool:
        """Whether the last change was stamped later than the value before it; True where there was none."""
        if len(self._samples) < 2:  # noqa: PLR2004 - a change has two sides
            return True
        before, last = self._samples[-2][0].source, self._samples[-1][0].source
        return before is None or last is None or before < last

    def has_notified(self, read: Sample) -> bool:
        """Whether a value that was read was notified too, under the very same stamp."""
        return any(
            sample.source is not None and sample.source == read.source and sample.value == read.value
            for sample, _is_continuous in self._samples
        )

    def before(self, ticks: float) -> Sample | None:
        """Return the value that is in force now and arrived before this instant; None where it changed since."""
        last = self.latest
        return last if last is not None and last.ticks < ticks else None

    def at(self, source: datetime) -> Sample | None:
        """Return the value in force at an instant of the PLC's clock, of whatever quality.

        None where that is not known: before the first value that is kept, between two values where others may be
        missing, and where values carry no source timestamp.
        """
        is_continuous = self._is_continuous
        for sample, is_continuous_before in reversed(self._samples):
            if sample.source is None:
                return None
            if sample.source == source or (sample.source < source and is_continuous):
                return sample
            if sample.source < source:
                return None
            is_continuous = is_continuous_before
        return None
