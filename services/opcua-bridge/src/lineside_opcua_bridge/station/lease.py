"""Who of several bridges may write to a station, by a mark in the PLC that its owner keeps changing. Pure.

The mark is a text: the owner's name, its run, and a count that goes up with each beat. No clock is compared with
another one: an owner is alive while the mark changes between the looks of whoever waits for its place, and an owner
that could not look at its own mark for less time than that writes no more.
"""

from dataclasses import dataclass
from enum import StrEnum

BEAT_S = 0.5
"""From one look at the mark to the next."""
SETTLE_S = 0.1
"""From claiming the mark to the look that shows whether somebody else claimed it too."""
PATIENCE = 5
"""Looks that find the mark unchanged until it is taken over."""
VALID_S = (PATIENCE - 2) * BEAT_S
"""For how long after a look that found its own mark an owner writes; others wait longer than that."""


class OwnershipState(StrEnum):
    """Whether this bridge serves a station."""

    OWNER = "owner"
    UNSURE = "unsure"
    """The owner is not known yet: parts are asked about, their verdicts are held."""
    STANDBY = "standby"
    """Another bridge serves it: nothing is asked and nothing is written."""


class Move(StrEnum):
    """What follows from a look at the mark."""

    KEEP = "keep"
    """It is ours: write the next beat."""
    CLAIM = "claim"
    """It is nobody's: write ours, and look whether it stays."""
    WAIT = "wait"
    """It is somebody else's, who is alive as far as we can tell."""


@dataclass(frozen=True)
class Mark:
    """A mark taken apart; `owner` is the name and place of its bridge."""

    owner: str
    run: str
    count: int

    def __str__(self) -> str:
        return f"{self.owner} {self.run} {self.count}"

    @classmethod
    def of(cls, text: str) -> "Mark":
        """Return the mark that a text is; one that we did not write has an owner and no more."""
        parts = text.rsplit(" ", 2)
        if len(parts) != 3 or not parts[2].isdecimal():  # noqa: PLR2004 - the three of a mark
            return cls(text[:80], "", 0)
        return cls(parts[0], parts[1], int(parts[2]))


class Lease:
    """The looks of one bridge at one mark, in order; `owner` and `run` are its own."""

    def __init__(self, owner: str, run: str) -> None:
        self._mine = Mark(owner, run, 0)
        self._wrote: str | None = None
        """What we wrote last, where nobody wrote over it since."""
        self._seen: str | None = None
        self._unchanged = 0
        self._has_met = False
        """Whether our mark was written over by another run."""
        self.is_contested = False
        """Whether the mark that stands there was seen to change while we waited: its owner lives."""

    @property
    def holder(self) -> str:
        """Whose mark was seen last."""
        return Mark.of(self._seen or "").owner

    def see(self, text: str) -> Move:
        """Take what a look found."""
        if self._wrote is not None and text == self._wrote:
            self._seen, self.is_contested = None, False
            return Move.KEEP
        if self._wrote is not None and text:
            self._has_met = self.is_contested = True
        self._wrote = None
        if not text:  # nobody's yet, or the PLC was restarted
            return Move.CLAIM
        before, self._seen = self._seen, text
        self.is_contested = self.is_contested or (before is not None and text != before)
        of_before_our_restart = Mark.of(text).owner == self._mine.owner and not self._has_met
        if before is None and of_before_our_restart:
            return Move.CLAIM
        self._unchanged = self._unchanged + 1 if text == before else 0
        return Move.CLAIM if self._unchanged >= PATIENCE else Move.WAIT

    def next(self) -> str:
        """Return the text to write after KEEP or CLAIM, and take it as written."""
        self._mine = Mark(self._mine.owner, self._mine.run, self._mine.count + 1)
        self._wrote, self._unchanged = str(self._mine), 0
        return self._wrote
