"""The status of the part that waits, by the PLC's view of its station. Pure.

With `overrun: newest` at most one part waits at a station: a newer trigger supersedes it, and an answer for the older
one is counted and never written, because the PLC's nodes belong to the newer part by then. With `queue` and `skip` the
parts are queued, and the PLC lowers done before the next part's verdict is written.

After an outage only the PLC can tell which part is there. Where a handshake signal says that a part waits (the trigger
of an edge, or `write_back.request`), it is the part that we know where the signal rose at the same instant of the PLC's
clock, or where the part id is the same and the deadline has not passed. Then the answer that was held is written, and
nothing is asked again. Where the PLC's clock proves nothing (see `stamps`) and there is no id, it is the part that we
know until the deadline: by the agreement a PLC without part ids keeps its part until done. In every other case the
signal is a new part with a request of its own: a verdict on the wrong part is worse than judging a part twice.

One rise of the signal is one part. A signal that stays high after its part has had its done is no new part, also once
done is low again. In a queue, where done is lowered while the signal may still be high, the same part id is the same
part until the signal was seen low, as a server that restarts stamps its values anew; without ids it is another part
only where the PLC's clock proves it.

Where no signal says that a part waits, only done and the part id can tell. Done that is high means judged: our own
write may have been executed although its response was lost. So each part gets one done, from one verdict.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lineside_opcua_bridge.station.parts import Part


@dataclass(frozen=True)
class StationView:
    """The PLC's view of a station, read in one call; None where the value is not of good quality."""

    present: bool | None
    """Whether a part waits; None also where no signal says so."""
    done: bool | None
    part_id: str | None
    risen: datetime | None
    """When `present` became what it is, by the PLC's clock."""
    done_since: datetime | None = None
    """When `done` became what it is, by the PLC's clock."""
    epoch: int | None = None
    """Set where the PLC's clock cannot tell rises apart: `risen` is comparable within this epoch only."""


@dataclass(frozen=True)
class SettledRise:
    """A rise of the handshake signal whose part has had its done, or was let go as done was not lowered in time."""

    risen: datetime | None
    """When the signal rose, by the PLC's clock; None where that is not known."""
    part_id: str | None

    def is_shown(self, view: StationView, *, queued: bool) -> bool:
        """Return whether the signal that is high in a view is still this rise."""
        if _has_other_id(self, view):
            return False
        if self.risen is not None and self.risen == view.risen:
            return True
        rose_anew = view.epoch is None and None not in {self.risen, view.risen}
        return queued and (_has_same_id(self, view) or not rose_anew)


class PartStatus(StrEnum):
    """The status of the part at a station; the values are the metric's `standing`."""

    UNREADABLE = "unreadable"
    NOTHING = "nothing"
    """No part waits."""
    WAITING = "waiting"
    """The part that we know waits for its verdict."""
    NEW = "new"
    """A part waits that was not asked about."""
    ANSWERED = "answered"
    """The part that we know has its verdict."""
    GONE = "gone"
    """The part that we know left without a verdict."""
    TAKING = "taking"
    """The PLC has not lowered done of the part before yet."""


def status_by_signal(part: Part | None, view: StationView, now: float, *, grace_s: float = 0.0) -> PartStatus:
    """Return the status at `now`, in ticks, where a signal says that a part waits.

    A part whose signal is low, but whose id the PLC still shows, is answered until `grace_s` after its deadline.
    """
    if view.present is None or view.done is None:
        return PartStatus.UNREADABLE
    if view.done:
        return PartStatus.ANSWERED if part else PartStatus.NOTHING
    if view.present:
        return PartStatus.WAITING if part and _is_same(part, view, now) else PartStatus.NEW
    if part is None:
        return PartStatus.NOTHING
    # The signal is low: the part of a pulse, or one that moved on, gets its verdict until the deadline, and for the
    # grace while the PLC shows its id; unless the PLC shows another part's id already.
    until = part.deadline + (grace_s if _has_same_id(part, view) else 0.0)
    return PartStatus.GONE if _has_other_id(part, view) or now >= until else PartStatus.WAITING


def status_without_signal(part: Part | None, view: StationView, now: float, *, grace_s: float) -> PartStatus:
    """Return the status where no signal says that a part waits: by done and the part id alone.

    A part that was not asked about is never found this way; one that waits is answered until deadline and grace.
    """
    if view.done is None:
        return PartStatus.UNREADABLE
    if part is None:
        return PartStatus.NOTHING
    if view.done:
        return PartStatus.ANSWERED
    return PartStatus.GONE if _has_other_id(part, view) or now > part.deadline + grace_s else PartStatus.WAITING


def status_in_queue(
    parts: Sequence[Part],
    view: StationView,
    now: float,
    *,
    has_signal: bool,
    grace_s: float,
    done_raised: bool,
    plc_clears_done: bool = True,
) -> PartStatus:
    """Return the status of the first queued part, or NEW where the PLC shows one that is not the last in the queue.

    `done_raised`: done was raised for a part before the first, and not seen low since. What the PLC shows of signal and
    part id is of the last part in the queue, so it cannot contradict the first.
    """
    if view.done is None or (has_signal and view.present is None):
        return PartStatus.UNREADABLE
    shows_part = not view.done and has_signal and view.present
    if shows_part and not shows_last(parts, view, now, grace_s):
        return PartStatus.NEW
    if not parts:
        return PartStatus.NOTHING
    first = parts[0]
    # A done whose write has an unknown response may have been raised, taken and lowered unseen. Raised again, it would
    # be taken for the next part's.
    stayed_low = first.low_since is not None and first.low_since == view.done_since
    may_be_taken = first.raising and plc_clears_done and not stayed_low
    if (not view.done and may_be_taken) or (view.done and not (done_raised and not first.attempts)):
        return PartStatus.ANSWERED
    if now > first.deadline + grace_s:
        return PartStatus.GONE
    return PartStatus.TAKING if view.done else PartStatus.WAITING


def _is_same(part: Part, view: StationView, now: float) -> bool:
    if part.risen is not None and part.risen == view.risen:
        return not _has_other_id(part, view)
    if view.epoch not in {None, part.epoch} and part.part_id is None and view.part_id is None:
        return now < part.deadline  # by the agreement the PLC keeps its part until done
    return _has_same_id(part, view) and now < part.deadline


def shows_last(parts: Sequence[Part], view: StationView, now: float, grace_s: float) -> bool:
    """Return whether the PLC shows the last part in the queue: asked about twice, it would get two dones."""
    if not parts:
        return False
    last = parts[-1]
    return _is_same(last, view, now) or (_has_same_id(last, view) and now <= last.deadline + grace_s)


def _has_same_id(part: Part | SettledRise, view: StationView) -> bool:
    return part.part_id is not None and part.part_id == view.part_id


def _has_other_id(part: Part | SettledRise, view: StationView) -> bool:
    return None not in {part.part_id, view.part_id} and part.part_id != view.part_id
