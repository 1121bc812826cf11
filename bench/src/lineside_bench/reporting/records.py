"""The records of each part: what the PLC saw, and the messages on the bus. Times are UTC, of one machine's clock."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lineside.contract import Request, Result

VERDICTS = ("pass", "fail", "unknown")
GRACE = timedelta(seconds=1)
"""Added to both ends of an outage: a broker that is killed loses messages that it had not delivered yet."""


@dataclass(frozen=True)
class WriteBack:
    """What the PLC held at the instant that Done was written as true."""

    at: datetime
    verdict: str
    confidence: float
    request_id: str
    part_id: str
    """The part that the verdict is said to be about."""


@dataclass
class PartRecord:
    """One part as its PLC saw it: when it was triggered, and every verdict written for it, in order."""

    index: int
    part_id: str
    truth: str
    """Its label; anything but `good` is a defect."""
    station: str
    deadline_ms: float
    triggered: datetime
    write_backs: list[WriteBack] = field(default_factory=list)
    not_shown: str = ""
    """Why its camera did not show it, where it did not."""

    @property
    def verdict(self) -> str | None:
        """The verdict that the PLC took: the first."""
        return self.write_backs[0].verdict if self.write_backs else None

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds from the PLC's trigger to its verdict."""
        return milliseconds(self.triggered, self.write_backs[0].at) if self.write_backs else None

    @property
    def is_right(self) -> bool:
        """Whether the verdict is that of the ground truth; unknown and none are not."""
        return self.verdict == ("pass" if self.truth == "good" else "fail")


@dataclass(frozen=True)
class SeenResult:
    """A result and when it was seen on the result topic."""

    at: datetime
    result: Result


@dataclass
class Exchange:
    """One request and the results published for it; either may have gone unseen while the broker was away."""

    request: Request | None = None
    results: list[SeenResult] = field(default_factory=list)


@dataclass
class Outage:
    """A time in which the observer had no connection to the broker; messages of that time may be missing."""

    start: datetime
    end: datetime | None = None
    """None while it lasts."""

    def touches(self, start: datetime, end: datetime) -> bool:
        """Whether it overlaps the time between two instants, with GRACE on both sides."""
        return self.start - GRACE <= end and (self.end is None or start <= self.end + GRACE)


def triggered_since(exchanges: Mapping[str, Exchange], start: datetime) -> dict[str, Exchange]:
    """Return the exchanges whose trigger the PLC raised at `start` or later, both by the PLC's own clock.

    Exchanges of earlier triggers are left out however late they are seen, and so are requests of others.
    """
    return {
        name: exchange
        for name, exchange in exchanges.items()
        if exchange.request and exchange.request.time.source and exchange.request.time.source >= start
    }


def longest_gap_ms(results: Iterable[Result]) -> float:
    """Return the longest time between two results that were published, in milliseconds; 0 where there are not two."""
    moments = sorted(each.time.published for each in results if each.time.published)
    return max((milliseconds(one, other) for one, other in itertools.pairwise(moments)), default=0.0)


def milliseconds(start: datetime, end: datetime) -> float:
    """Return the time between two instants in milliseconds; negative where `end` is earlier."""
    return (end - start).total_seconds() * 1000


@dataclass(frozen=True)
class PictureAccount:
    """How many pictures were compared, and those that show another part: (the part of the verdict, the part shown)."""

    compared: int = 0
    wrong: tuple[tuple[str, str], ...] = ()
