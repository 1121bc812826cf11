"""What the source timestamps of one tag are good for, by what was seen of them; and which rise is which without them.

A source timestamp is no order and no identity by itself (OPC 10000-4, 7.11.3 leaves it to the server): open62541 stamps
a value when it is read or sampled, some servers stamp once at their start or in whole seconds, gateways stamp the poll.
So what a tag's line of values and the reads of it show is compared:

- a value that changed on an unbroken line under the same stamp, or under an earlier one: the stamps stand still or run
  backwards, and are used for nothing until many changes in a row were stamped one after the other;
- a read of the value that the line had last, under its very stamp: stamps are kept, so one stamp is one write;
- a read of it under a stamp that the line never shows: the server stamps what it is asked, and no two looks compare.

Where stamps are no identity, the order of arrival is: each value on an unbroken line is one of its own, known by when
it came, and a look that shows the same value as the line had last is taken for that one.
"""

from collections.abc import Callable
from datetime import datetime

from lineside_opcua_bridge.samples import Sample

_FORGIVEN = 64
"""Changes in a row with a later stamp each, after which stamps that stood still or ran back are used again."""

STILL = "stand still"
BACKWARDS = "run backwards"


class Stamps:
    """The stamps of one tag. `noticed` is called with how they are wrong, and with None once they are right again.

    `of_element`: it is one element of an array, whose stamp is that of the last write to any of its elements.
    """

    def __init__(
        self, noticed: Callable[[str | None], None] = lambda _wrong: None, *, of_element: bool = False
    ) -> None:
        self._noticed = noticed
        self._last: Sample | None = None
        self._told: datetime | None = None
        """By which instant the last value of the line is known."""
        self._whole = False
        self.line = 0
        """Which unbroken line of values is the present one."""
        self._wrong: str | None = None
        self._in_a_row = 0
        self._kept: bool | None = False if of_element else None
        self._strange: datetime | None = None
        """The stamp of a read that the line has not shown yet."""

    @property
    def run(self) -> bool:
        """Whether they move with the values: a clock."""
        return self._wrong is None

    @property
    def identify(self) -> bool:
        """Whether one stamp is one write, as far as was seen: then another stamp is another write."""
        return self.run and self._kept is not False and not (self._kept is None and self._strange is not None)

    @property
    def proven(self) -> bool:
        """Whether that was seen at least once."""
        return self.run and self._kept is True

    @property
    def is_whole(self) -> bool:
        """Whether the line has a value since its last gap."""
        return self._whole

    def mark_gap(self) -> None:
        """Say that values may be missing before the next one."""
        if self._whole:
            self._whole = False
            self.line += 1

    def take(self, sample: Sample) -> Sample:
        """Take the next value of the line; return it with the instant by which it is known as its source timestamp."""
        if sample.overflow:
            self.mark_gap()
        last, whole = self._last, self._whole
        if whole and last is not None and sample.source is not None and last.source is not None:
            if sample.value != last.value:
                self._compare(last.source, sample.source)
            self._resolve(sample.source)
        self._last, self._whole = sample, True
        self._told = sample.source if self.identify and sample.source is not None else sample.received
        return sample._replace(source=self._told)

    def shown(self, sample: Sample) -> Sample:
        """Take a read of the tag; return it with the instant by which its value is known, None where it is not."""
        last = self._last
        same = last is not None and self._whole and same_content(last, sample)
        if same and last is not None and last.source is not None and sample.source is not None:
            if sample.source == last.source:
                self._kept = self._kept is not False
            elif self._kept is not False:
                self._strange = sample.source
        if self.identify and sample.source is not None:
            known = last is not None and sample.source == last.source
            return sample._replace(source=self._told) if known else sample
        return sample._replace(source=self._told if same else None)

    def confirm(self, shown: Sample) -> None:
        """Take it that a value that was read has come on the line too, not yet taken, under the very same stamp."""
        if shown.source is not None and self._kept is None and self._strange is None:
            self._kept = True

    def is_on_its_way(self, shown: Sample) -> bool:
        """Whether a look, as `shown` told it, is ahead of an unbroken line, which will bring its value by itself."""
        return self._whole and (shown.source is None or shown.source != self._told)

    def _compare(self, before: datetime, now: datetime) -> None:
        if now > before:
            self._in_a_row += 1
            if self._wrong and self._in_a_row >= _FORGIVEN:
                self._say(None)
            return
        self._in_a_row = 0
        self._say(STILL if now == before else BACKWARDS)

    def _resolve(self, now: datetime) -> None:
        """The line reached a stamp that a read showed before, or passed it without ever showing it."""
        if self._strange is not None and now >= self._strange:
            if now > self._strange:
                self._kept = False
            self._strange = None

    def _say(self, wrong: str | None) -> None:
        if wrong != self._wrong:
            self._wrong = wrong
            self._noticed(wrong)


def same_content(first: Sample, second: Sample) -> bool:
    """Whether two samples show the same: value and whether it is usable."""
    return first.value == second.value and (first.quality == "bad") == (second.quality == "bad")
