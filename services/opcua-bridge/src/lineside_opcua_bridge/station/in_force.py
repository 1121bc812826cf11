"""Which value of a tag was in force when the trigger came: pure, and never the other part's.

What the PLC's agreement ties to the part (its id, the conditions) is set before the trigger rises and stays until done.
So a read made while that very trigger stands shows this part's, whatever the stamps say. A trigger that no longer
stands, a pulse or a PLC that moved on, leaves this:

1. The value did not change around the trigger, or was stamped before it by stamps that are an order: it is this part's.
2. Else a while is waited for, in which what is on its way arrives, and it is read again. No newer trigger came and the
   value stayed: it is this part's, for a next part's id would be followed by its trigger at once.
3. Else the line of the tag's values decides where its stamps and the trigger's are those of writes; else nobody knows.

Other tags (a speed, a temperature) are in force at an instant, not for a part: stamps of writes decide, else the read.
"""

from dataclasses import dataclass
from enum import StrEnum

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.history import History
from lineside_opcua_bridge.station.stamps import same_content


class Found(StrEnum):
    """How a value was found; the first three are the metric's `kind`."""

    READ = "read"
    IN_FORCE = "in_force"
    """It changed since; the one before counts."""
    AFTER = "after_trigger"
    """It changed since, and the one before is not known."""
    SETTLE = "settle"
    """To be seen: read it again after a while."""
    UNKNOWN = "moved_on"
    """The PLC moved on, and nobody can tell whose it is."""


Choice = tuple[Sample | None, Found]


@dataclass(frozen=True)
class Moment:
    """What is known of the trigger. `stands`: it is seen to have stood when the tags were read, or has no instant.

    `stamped`: its source timestamp is that of its write. `seen`: a newer trigger would be seen within a while.
    """

    trigger: Sample
    stands: bool
    stamped: bool
    seen: bool = True


def choose(read: Sample, history: History, moment: Moment, *, bound: bool) -> Choice:
    """Return the value in force at the trigger; `bound` is what belongs to the part."""
    if bound and moment.stands:
        return read, Found.READ
    at = moment.trigger.source
    ordered = at is not None and moment.stamped and _is_order(read, history, moment.trigger)
    if ordered and at and read.source is not None and read.source <= at:
        return read, Found.READ
    if not bound:
        past = history.at(at) if ordered and at else None
        return (past, Found.IN_FORCE) if past else (read, Found.AFTER if ordered else Found.READ)
    before = history.before(moment.trigger.ticks)
    if before is not None and same_content(before, read):
        return read, Found.READ
    return (None, Found.SETTLE) if moment.seen else by_stamps(read, history, moment)


def settled(first: Sample, second: Sample | None, history: History, moment: Moment, *, newer: bool) -> Choice:
    """Return the same after a while: `first` and `second` are the two reads, `newer` says that another trigger came."""
    if second is not None and not newer and same_content(first, second):
        return second, Found.READ
    return by_stamps(first, history, moment)


def by_stamps(read: Sample, history: History, moment: Moment) -> Choice:
    """Return what the line of the tag's values says, which must have come as far as the read."""
    at = moment.trigger.source
    if at is not None and moment.stamped and _is_order(read, history, moment.trigger):
        past = history.at(at)
        if past is not None:
            return past, Found.IN_FORCE
    return None, Found.UNKNOWN


def _is_order(read: Sample, history: History, trigger: Sample) -> bool:
    """Whether the tag's stamps compare with the trigger's: they are kept, move, and are finer than a second."""
    fine = any(each.source is not None and each.source.microsecond for each in (read, trigger))
    return fine and history.knows(read) and history.runs
