"""What is known of the part at a station, and what a look at the PLC says about it.

A station has at most one part that waits for its verdict. A newer trigger supersedes it: whatever comes for the older
one is counted and never written, because the PLC's nodes belong to the newer part by then.

After an outage the PLC is the only witness. The part that waited is taken for the one still there when the trigger
rose at the same instant of the PLC's clock, or when the part id is the same and the deadline has not passed; then the
verdict that was held is written and nothing is asked again. Otherwise a waiting trigger is a new part with a request
of its own, for a verdict on the wrong part is worse than a second look at the right one. Done raised means judged:
our own write may have arrived although its answer did not. So each part gets one done, from one verdict.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lineside.contract import Result, Verdict

Origin = Literal["result", "deadline", "bus"]


@dataclass(frozen=True)
class Answer:
    """What is written back. `origin` says who decided: a result, the deadline, or a bus that refused the request."""

    verdict: Verdict
    confidence: float
    origin: Origin
    reason: str


@dataclass
class Part:
    """A part that waits for its verdict. Times are ticks: seconds of our monotonic clock."""

    request_id: str
    part_id: str | None
    risen: datetime | None
    """When the trigger rose, by the PLC's clock."""
    seen: float
    """When the bridge got the edge."""
    deadline: float
    """When the PLC must have the verdict."""
    answer_by: float
    """When `unknown` is written for want of a verdict."""
    answer: Answer | None = None
    attempts: int = field(default=0)
    """Write-backs begun."""

    @classmethod
    def arrived(
        cls,
        request_id: str,
        *,
        seen: float,
        deadline_s: float,
        margin_s: float,
        part_id: str | None,
        risen: datetime | None,
    ) -> "Part":
        """Return the part of an edge that was seen at `seen`."""
        return cls(request_id, part_id, risen, seen, seen + deadline_s, seen + deadline_s - margin_s)

    def decide(self, answer: Answer) -> bool:
        """Take the answer; the first one counts and False is returned for any other."""
        if self.answer is not None:
            return False
        self.answer = answer
        return True


def answer_of(result: Result) -> Answer:
    """Return what a result writes back: its verdict, and how sure it is.

    The confidence is that of the surest finding, else the highest score, cut to 0..1; 0 with `unknown`.
    """
    if result.verdict == "unknown":
        return Answer("unknown", 0.0, "result", f"{result.code}: {result.reason}" if result.code else result.reason)
    confidence = max((finding.confidence for finding in result.findings), default=None)
    if confidence is None:
        confidence = max(result.scores.values(), default=0.0)
    return Answer(result.verdict, min(1.0, max(0.0, confidence)), "result", result.reason)


@dataclass(frozen=True)
class Look:
    """The PLC's own view of a station, read in one call; None where the value is not of good quality."""

    present: bool | None
    done: bool | None
    part_id: str | None
    risen: datetime | None


class Standing(StrEnum):
    """How the part at the station stands."""

    UNREADABLE = "unreadable"
    NOTHING = "nothing"
    """Nothing waits."""
    WAITING = "waiting"
    """The part that we know waits for its verdict."""
    NEW = "new"
    """A part waits that nobody has asked about."""
    ANSWERED = "answered"
    """The part that we know has its verdict."""
    GONE = "gone"
    """The part that we know left without a verdict."""


def standing(part: Part | None, look: Look, now: float) -> Standing:
    """Return how things stand by a look at the instant `now`, in ticks."""
    if look.present is None or look.done is None:
        return Standing.UNREADABLE
    if look.done:
        return Standing.ANSWERED if part else Standing.NOTHING
    if look.present:
        return Standing.WAITING if part and _same(part, look, now) else Standing.NEW
    if part is None:
        return Standing.NOTHING
    # The trigger is low: a pulse's part, or one that moved on, is owed its verdict until the deadline, unless the PLC
    # shows another part's id already.
    other = None not in {part.part_id, look.part_id} and part.part_id != look.part_id
    return Standing.GONE if other or now >= part.deadline else Standing.WAITING


def _same(part: Part, look: Look, now: float) -> bool:
    if part.risen is not None and part.risen == look.risen:
        return part.part_id is None or look.part_id is None or part.part_id == look.part_id
    return _same_id(part, look) and now < part.deadline


def _same_id(part: Part, look: Look) -> bool:
    return part.part_id is not None and part.part_id == look.part_id


class Closed:
    """The requests that no longer wait, so that their late results are told from other people's. Bounded."""

    def __init__(self, limit: int = 4096) -> None:
        self._limit = limit
        self._answered: OrderedDict[str, bool] = OrderedDict()

    def add(self, request_id: str, *, by_result: bool) -> None:
        """Remember a request that was closed, and whether its own result did it."""
        self._answered[request_id] = by_result
        while len(self._answered) > self._limit:
            self._answered.popitem(last=False)

    def kind(self, request_id: str) -> Literal["duplicate", "late", "foreign"]:
        """Return what another result for this request is."""
        by_result = self._answered.get(request_id)
        return "foreign" if by_result is None else "duplicate" if by_result else "late"
