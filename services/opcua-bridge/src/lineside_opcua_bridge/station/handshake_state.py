"""The handshake's values: its rules, the state of a station, and the actions that follow from events."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.handshake_signal import HandshakeSignal
from lineside_opcua_bridge.station.lease import OwnershipState
from lineside_opcua_bridge.station.part_status import PartStatus, SettledRise, StationView
from lineside_opcua_bridge.station.parts import Answer, Part

MAX_PAUSE_S = 0.25
"""The longest pause between two views."""


@dataclass(frozen=True)
class HandshakeRules:
    """What the settings say of a station's handshake."""

    signal: HandshakeSignal | None
    writes: bool
    """Whether verdicts are written to the PLC."""
    bridge_clears_done: bool
    queued: bool
    """Whether parts are queued; else a newer part supersedes the one that waits."""
    max_parts: int
    """How many parts may wait."""
    grace_s: float
    """For how long after its deadline a part may still be answered."""

    @classmethod
    def of(cls, settings: TriggerSettings, *, grace_s: float, simulate: bool) -> "HandshakeRules":
        """Return a trigger's rules."""
        write_back = None if simulate else settings.write_back
        queued = settings.overrun != "newest"
        return cls(
            signal=HandshakeSignal.of(settings),
            writes=write_back is not None,
            bridge_clears_done=write_back is not None and write_back.clear_done == "bridge",
            queued=queued,
            max_parts=settings.overrun_limit if queued else 1,
            grace_s=grace_s,
        )


@dataclass(frozen=True)
class Situation:
    """What holds at the time of an event."""

    now: float
    """Our monotonic clock, in seconds."""
    utc: datetime
    ownership: OwnershipState = OwnershipState.OWNER
    epoch: int = 0
    """The present epoch of the signal's values (see `stamps`)."""
    notification_delay_s: float = MAX_PAUSE_S / 2
    """Within how many seconds a change in the PLC is notified."""


@dataclass(frozen=True)
class HandshakeState:
    """What is known of the handshake at one station."""

    parts: tuple[Part, ...] = ()
    """The parts that wait; the first one's verdict is written next."""
    is_attached: bool = False
    """Whether there is a session."""
    was_away: bool = False
    """Whether the PLC was away since the part arrived, and was not viewed since."""
    done_raised: bool = False
    """Whether done was raised by us, or found raised, and not seen low since."""
    served: tuple[datetime, int] | None = None
    """When the signal rose that done was raised for, and the epoch of that value."""
    settled: SettledRise | None = None
    """The last rise, where its part is settled and the signal was not seen low since."""
    is_behind_done: bool = False
    """Whether the last view showed, beside the done of a part before, the signal of a part that is not known."""
    done_low_since: datetime | None = None
    """Since when done is low, by the PLC's clock; None where that is not known."""
    signal: Sample | None = None
    """The last value of the signal."""
    first_viewed: tuple[datetime | None, float] = (None, 0.0)
    """When the signal that is high now rose, and when a view first showed it, in ticks."""
    passed_over: datetime | None = None
    """When the signal of a part rose that shall get no verdict from us."""
    ahead_since: float | None = None
    """Since when views are ahead of the signal's notifications, in ticks."""

    @property
    def first(self) -> Part | None:
        """The part whose verdict is written next."""
        return self.parts[0] if self.parts else None

    @property
    def newest(self) -> Part | None:
        """The part that came last."""
        return self.parts[-1] if self.parts else None

    def part(self, request_id: str) -> Part | None:
        """Return the part of a request, where it still waits."""
        return next((part for part in self.parts if part.request_id == request_id), None)

    def with_part(self, changed: Part) -> "HandshakeState":
        """Return the state with a part changed."""
        parts = tuple(changed if part.request_id == changed.request_id else part for part in self.parts)
        return replace(self, parts=parts)

    def without(self, part: Part) -> "HandshakeState":
        """Return the state without a part."""
        return replace(self, parts=tuple(each for each in self.parts if each.request_id != part.request_id))


# Actions, and how they end.


@dataclass(frozen=True)
class ReadView:
    """Read the view of the station now, and go on with `viewed`."""


@dataclass(frozen=True)
class RecheckLater:
    """Read the view after a pause."""


@dataclass(frozen=True)
class RecheckNext:
    """Read the view after the events that are queued already."""


@dataclass(frozen=True)
class WriteVerdict:
    """Write the answer of a part and raise done, and go on with `written`."""

    part: Part
    answer: Answer


@dataclass(frozen=True)
class Assessment:
    """A view that waits to be assessed until done is lowered."""

    view: StationView
    signal: Sample | None
    is_ahead: bool
    recover: bool


class After(Enum):
    """What follows once done was lowered."""

    ANSWER = "answer"
    """The answer of the first part is due."""
    VIEW = "view"
    """The view that showed done is to be assessed."""
    NOTHING = "nothing"


@dataclass(frozen=True)
class ClearDone:
    """Lower done, and go on with `cleared`."""

    after: After
    assessed: Assessment | None = None


@dataclass(frozen=True)
class ClosePart:
    """Let go a part that has its answer: it is in the PLC, or only counted where nothing is written."""

    part: Part
    answer: Answer


@dataclass(frozen=True)
class DropPart:
    """Let go a part that gets no verdict from us; `part.lost` says why."""

    part: Part


@dataclass(frozen=True)
class RecoverPart:
    """Ask about a part that the PLC shows and nobody asked about; `risen` is when its signal rose."""

    signal: Sample
    risen: datetime | None


@dataclass(frozen=True)
class MarkHandled:
    """The signal that rose then was seen in a view: its own value, once it comes, is no trigger."""

    risen: datetime | None


@dataclass(frozen=True)
class CountView:
    """Count a view by its status."""

    status: PartStatus


@dataclass(frozen=True)
class WriteEnd:
    """How writing a verdict ended."""

    done_raised: bool
    raising: bool
    """Whether the write of done was sent and its response is unknown."""
    failure: str | None
    """What failed, or what the PLC refused."""
    is_session_lost: bool = False


Action = (
    ReadView
    | RecheckLater
    | RecheckNext
    | WriteVerdict
    | ClearDone
    | ClosePart
    | DropPart
    | RecoverPart
    | MarkHandled
    | CountView
)
Step = tuple[HandshakeState, tuple[Action, ...]]
