"""A lease: which of several bridges may write to a station, by a mark in the PLC that its owner keeps changing. Pure.

The mark is a text: the owner's name, its run, and a count that goes up with each renewal. No two clocks are compared:
an owner is alive while the mark changes between two reads of a bridge that waits, and an owner that could not read its
own mark for a shorter time than that stops writing.
"""

from dataclasses import dataclass
from enum import StrEnum

RENEWAL_S = 0.5
"""Seconds from one read of the mark to the next."""
SETTLE_S = 0.1
"""Seconds from claiming the mark to the read that shows whether another bridge claimed it too."""
MAX_UNCHANGED = 5
"""A mark that so many reads find unchanged is taken over."""
VALID_S = (MAX_UNCHANGED - 2) * RENEWAL_S
"""For how many seconds after a read of its own mark an owner writes; others wait longer than that."""


class OwnershipState(StrEnum):
    """Whether this bridge serves a station."""

    OWNER = "owner"
    UNSURE = "unsure"
    """The owner is not known yet: parts are asked about, their verdicts are held."""
    STANDBY = "standby"
    """Another bridge serves it: nothing is asked and nothing is written."""


class Move(StrEnum):
    """What follows from a read of the mark."""

    KEEP = "keep"
    """It is ours: renew it."""
    CLAIM = "claim"
    """It is nobody's: write ours, and read whether it stays."""
    WAIT = "wait"
    """It is another bridge's, which is alive as far as is known."""


@dataclass(frozen=True)
class Mark:
    """The fields of a mark; `owner` is the name and address of its bridge."""

    owner: str
    run: str
    count: int

    def __str__(self) -> str:
        return f"{self.owner} {self.run} {self.count}"

    @classmethod
    def of(cls, text: str) -> "Mark":
        """Return the mark in a text; any other text is an owner without run and count."""
        parts = text.rsplit(" ", 2)
        if len(parts) != 3 or not parts[2].isdecimal():  # noqa: PLR2004 - the three of a mark
            return cls(text[:80], "", 0)
        return cls(parts[0], parts[1], int(parts[2]))


class Lease:
    """One bridge's reads of one mark, in order; `owner` and `run` are its own."""

    def __init__(self, owner: str, run: str) -> None:
        self._mine = Mark(owner, run, 0)
        self._wrote: str | None = None
        """What we wrote last, unless another bridge has overwritten it."""
        self._seen: str | None = None
        self._unchanged = 0
        self._was_overwritten = False
        """Whether another run has overwritten our mark."""
        self.is_contested = False
        """Whether the present mark was seen to change while we waited: its owner is alive."""

    @property
    def holder(self) -> str:
        """The owner of the mark that was read last."""
        return Mark.of(self._seen or "").owner

    def see(self, text: str) -> Move:
        """Take the text that was read."""
        if self._wrote is not None and text == self._wrote:
            self._seen, self.is_contested = None, False
            return Move.KEEP
        if self._wrote is not None and text:
            self._was_overwritten = self.is_contested = True
        self._wrote = None
        if not text:  # no owner yet, or the PLC was restarted
            return Move.CLAIM
        before, self._seen = self._seen, text
        self.is_contested = self.is_contested or (before is not None and text != before)
        of_before_our_restart = Mark.of(text).owner == self._mine.owner and not self._was_overwritten
        if before is None and of_before_our_restart:
            return Move.CLAIM
        self._unchanged = self._unchanged + 1 if text == before else 0
        return Move.CLAIM if self._unchanged >= MAX_UNCHANGED else Move.WAIT

    def next(self) -> str:
        """Return the text to write after KEEP or CLAIM, and take it as written."""
        self._mine = Mark(self._mine.owner, self._mine.run, self._mine.count + 1)
        self._wrote, self._unchanged = str(self._mine), 0
        return self._wrote
