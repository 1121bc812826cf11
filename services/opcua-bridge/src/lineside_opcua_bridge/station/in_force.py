"""Which value of a tag was in force when the trigger rose: never the other part's. Pure.

What the agreement with the PLC ties to the part (its id, the conditions) is set before the trigger rises and stays
until done. So a read made while that very trigger is still shown is this part's, whatever the stamps say. For a trigger
that is no longer shown (a pulse, or a PLC that moved on) the rules are:

1. The value did not change around the trigger, or was stamped before it by stamps that are an order: it is this part's.
2. Else it is read again after a pause in which late notifications arrive. Where no newer trigger came and the value
   stayed, it is this part's: a next part's id would be followed by its trigger at once.
3. Else the tag's history decides, where its stamps and the trigger's are known to be those of writes. Else the value is
   not known.

Other tags (a speed, a temperature) are in force at an instant, not for a part: stamps of writes decide, else the read.
"""

from dataclasses import dataclass
from enum import StrEnum

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.history import History
from lineside_opcua_bridge.station.stamps import same_content


class Provenance(StrEnum):
    """How a value was found; the first three are the metric's `kind`."""

    READ = "read"
    IN_FORCE = "in_force"
    """It changed since; the one before counts."""
    AFTER = "after_trigger"
    """It changed since, and the one before is not known."""
    SETTLE = "settle"
    """It must be read again after a pause."""
    UNKNOWN = "moved_on"
    """The PLC moved on, and the value's part is not known."""


Choice = tuple[Sample | None, Provenance]


@dataclass(frozen=True)
class TriggerMoment:
    """What is known of the trigger when the tags are read."""

    trigger: Sample
    is_shown: bool
    """Whether the PLC still showed it after the tags were read, or it has no instant."""
    is_write_stamped: bool
    """Whether its source timestamp is that of its write."""
    is_watched: bool = True
    """Whether a newer trigger would be noticed during a pause."""


def choose(read: Sample, history: History, moment: TriggerMoment, *, is_of_part: bool) -> Choice:
    """Return the value in force at the trigger; `is_of_part` is what the agreement ties to the part."""
    if is_of_part and moment.is_shown:
        return read, Provenance.READ
    at = moment.trigger.source
    ordered = at is not None and moment.is_write_stamped and _are_ordered(read, history, moment.trigger)
    if ordered and at and read.source is not None and read.source <= at:
        return read, Provenance.READ
    if not is_of_part:
        past = history.at(at) if ordered and at else None
        return (past, Provenance.IN_FORCE) if past else (read, Provenance.AFTER if ordered else Provenance.READ)
    before = history.before(moment.trigger.ticks)
    if before is not None and same_content(before, read):
        return read, Provenance.READ
    return (None, Provenance.SETTLE) if moment.is_watched else choose_by_stamps(read, history, moment)


def choose_again(
    first: Sample, second: Sample | None, history: History, moment: TriggerMoment, *, is_superseded: bool
) -> Choice:
    """Return the value in force after a pause, by the reads before and after it; `is_superseded`: a trigger came."""
    if second is not None and not is_superseded and same_content(first, second):
        return second, Provenance.READ
    return choose_by_stamps(first, history, moment)


def choose_by_stamps(read: Sample, history: History, moment: TriggerMoment) -> Choice:
    """Return the value by the tag's history, which must include the read."""
    at = moment.trigger.source
    if at is not None and moment.is_write_stamped and _are_ordered(read, history, moment.trigger):
        past = history.at(at)
        if past is not None:
            return past, Provenance.IN_FORCE
    return None, Provenance.UNKNOWN


def _are_ordered(read: Sample, history: History, trigger: Sample) -> bool:
    """Whether the tag's stamps compare with the trigger's: they are kept, advance, and are finer than a second."""
    fine = any(each.source is not None and each.source.microsecond for each in (read, trigger))
    return fine and history.has_notified(read) and history.is_ordered
