"""Decides what the source timestamps of one tag can be used for, and identifies values where they cannot be used.

A source timestamp by itself is neither an order nor an identity (OPC 10000-4, 7.11.3 leaves its meaning to the server):
open62541 stamps a value when it is read or sampled, some servers stamp once at their start or in whole seconds,
gateways stamp the poll. So the notified values of a tag are compared with one another and with reads of it:

- A value that changed without a gap under the same stamp, or under an earlier one: the stamps stand still or run
  backwards, and are not used until many changes in a row were stamped one after the other.
- A read of the value that was notified last, under its very stamp: stamps are kept, so one stamp is one write.
- A read of it under a stamp that is never notified: the server stamps the read, and no two reads compare.

Where stamps are no identity, the order of arrival is: each value notified without a gap is one of its own, known by
when it arrived, and a read of the value that was notified last is taken for that one.
"""

from collections.abc import Callable
from datetime import datetime

from lineside_opcua_bridge.samples import Sample

_GOOD_CHANGES = 64
"""Changes in a row with a later stamp each, after which stamps that stood still or ran backwards are used again."""

STILL = "stand still"
BACKWARDS = "run backwards"


class Stamps:
    """The stamps of one tag. `on_change` is called with what is wrong with them, and with None once nothing is.

    `of_element`: the tag is one element of an array, whose stamp is that of the last write to any of its elements.
    """

    def __init__(
        self, on_change: Callable[[str | None], None] = lambda _wrong: None, *, of_element: bool = False
    ) -> None:
        self._on_change = on_change
        self._last: Sample | None = None
        """The value that was notified last."""
        self._identity: datetime | None = None
        """The instant by which it is known."""
        self._is_continuous = False
        self.epoch = 0
        """Counts the gaps: values of one epoch were notified without a gap between them."""
        self._wrong: str | None = None
        self._good_changes = 0
        self._are_kept: bool | None = False if of_element else None
        """Whether a read shows the stamp of the notification; None while that was not seen."""
        self._unnotified: datetime | None = None
        """The stamp of a read that was not notified yet."""

    @property
    def are_usable(self) -> bool:
        """Whether they advance with the values, as a clock does."""
        return self._wrong is None

    @property
    def are_identity(self) -> bool:
        """Whether one stamp is one write, as far as was seen: then another stamp is another write."""
        return self.are_usable and self._are_kept is not False and not (self._are_kept is None and self._unnotified)

    @property
    def are_proven(self) -> bool:
        """Whether that was seen at least once."""
        return self.are_usable and self._are_kept is True

    @property
    def is_continuous(self) -> bool:
        """Whether a value was notified since the last gap."""
        return self._is_continuous

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        if self._is_continuous:
            self._is_continuous = False
            self.epoch += 1

    def take(self, sample: Sample) -> Sample:
        """Take a notified value; return it with the instant by which it is known as its source timestamp."""
        if sample.overflow:
            self.mark_gap()
        last, continuous = self._last, self._is_continuous
        if continuous and last is not None and sample.source is not None and last.source is not None:
            if sample.value != last.value:
                self._compare(last.source, sample.source)
            self._resolve(sample.source)
        self._last, self._is_continuous = sample, True
        self._identity = sample.source if self.are_identity and sample.source is not None else sample.received
        return sample._replace(source=self._identity)

    def identify_read(self, read: Sample) -> Sample:
        """Take a read of the tag; return it with the instant by which its value is known, None where it is not."""
        last = self._last
        is_same = last is not None and self._is_continuous and same_content(last, read)
        if is_same and last is not None and last.source is not None and read.source is not None:
            if read.source == last.source:
                self._are_kept = self._are_kept is not False
            elif self._are_kept is not False:
                self._unnotified = read.source
        if self.are_identity and read.source is not None:
            is_last = last is not None and read.source == last.source
            return read._replace(source=self._identity) if is_last else read
        return read._replace(source=self._identity if is_same else None)

    def confirm(self, read: Sample) -> None:
        """Take it that a value that was read is notified under the very same stamp, but not taken yet."""
        if read.source is not None and self._are_kept is None and self._unnotified is None:
            self._are_kept = True

    def is_on_its_way(self, read: Sample) -> bool:
        """Whether a read, as `identify_read` returned it, is newer than what was notified without a gap."""
        return self._is_continuous and (read.source is None or read.source != self._identity)

    def _compare(self, before: datetime, now: datetime) -> None:
        if now > before:
            self._good_changes += 1
            if self._wrong and self._good_changes >= _GOOD_CHANGES:
                self._report(None)
            return
        self._good_changes = 0
        self._report(STILL if now == before else BACKWARDS)

    def _resolve(self, now: datetime) -> None:
        """Take a notified stamp: it is that of a read before it, or later, so that the read's was never notified."""
        if self._unnotified is not None and now >= self._unnotified:
            if now > self._unnotified:
                self._are_kept = False
            self._unnotified = None

    def _report(self, wrong: str | None) -> None:
        if wrong != self._wrong:
            self._wrong = wrong
            self._on_change(wrong)


def same_content(first: Sample, second: Sample) -> bool:
    """Whether two samples have the same value, and are both usable or both not."""
    return first.value == second.value and (first.quality == "bad") == (second.quality == "bad")
