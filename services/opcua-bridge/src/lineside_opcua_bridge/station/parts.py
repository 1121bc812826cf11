"""What is known of the parts at a station, and what a look at the PLC says about them.

With `overrun: newest` a station has at most one part that waits: a newer trigger supersedes it, and whatever comes for
the older one is counted and never written, because the PLC's nodes belong to the newer part by then. With `queue` and
`skip` the parts wait in line, and the PLC lowers done before the next one's verdict is written.

After an outage the PLC is the only witness. Where a Boolean says that a part waits (the trigger of an edge, or
`write_back.request`), the part that waited is taken for the one still there when that Boolean changed at the same
instant of the PLC's clock, or when the part id is the same and the deadline has not passed; then the verdict that was
held is written and nothing is asked again. Where the PLC's clock tells nothing (see `stamps`) and there is no id, the
agreement does: a PLC without part ids keeps its part until done, or until its own time-out after the deadline.
Otherwise a waiting trigger is a new part with a request of its own, for a verdict on the wrong part is worse than a
second look at the right one. Where nothing says that a part waits, only done and the part id can tell. Done raised
means judged: our own write may have arrived although its answer did not. So each part gets one done, from one verdict.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from lineside.contract import Result, Verdict

Origin = Literal[
    "result", "deadline", "bus", "error", "overrun", "missed", "paused", "window", "message", "moved_on", "trigger"
]


@dataclass(frozen=True)
class Answer:
    """What is written back. `origin` says who decided.

    A result; the deadline; a bus that refused the request; a report on the error topic; parts that came too fast, or
    that nobody saw; a pause; a window that cannot be judged; a request too large for the bus; a condition that nobody
    can tell any more, for the PLC moved on; a trigger whose value cannot be used. `code` is what the PLC may be told.
    """

    verdict: Verdict
    confidence: float
    origin: Origin
    reason: str
    code: str = "ok"
    findings: int = 0


def unknown(origin: Origin, reason: str, *, code: str | None = None) -> Answer:
    """Return the fail-safe; its code is the origin's name where there is no better one."""
    return Answer("unknown", 0.0, origin, reason, code or origin)


@dataclass
class Part:
    """A part that waits for its verdict. Times are ticks: seconds of our monotonic clock."""

    request_id: str
    part_id: str | None
    risen: datetime | None
    """When the trigger rose, by the PLC's clock."""
    seen: float
    """When the bridge got the trigger."""
    deadline: float
    """When the PLC must have the verdict."""
    answer_by: float
    """When `unknown` is written for want of a verdict."""
    answer: Answer | None = None
    attempts: int = field(default=0)
    """Write-backs begun."""
    asked: bool = True
    """Whether there is a request for it."""
    raising: bool = False
    """Whether raising done was begun and nobody said how it ended."""
    low_since: datetime | None = None
    """Since when done was low before that, by the PLC's clock."""
    failure: str | None = None
    """How the last write-back failed, or what of it the PLC refused."""
    written: datetime | None = None
    """When done was raised, by our clock."""
    written_late: bool = False
    """Whether the deadline was over by then."""
    lost: str | None = None
    """Why it got no verdict from us."""
    line: int = 0
    """Which unbroken line of the level's values its rise came by."""

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
        line: int = 0,
    ) -> "Part":
        """Return the part of a trigger that was seen at `seen`."""
        return cls(request_id, part_id, risen, seen, seen + deadline_s, seen + deadline_s - margin_s, line=line)

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
        reason = f"{result.code}: {result.reason}" if result.code else result.reason
        return Answer("unknown", 0.0, "result", reason, result.code or "ok")
    confidence = max((finding.confidence for finding in result.findings), default=None)
    if confidence is None:
        confidence = max(result.scores.values(), default=0.0)
    found = len(result.findings) + result.findings_omitted
    return Answer(
        result.verdict, min(1.0, max(0.0, confidence)), "result", result.reason, result.code or "ok", max(0, found)
    )


@dataclass(frozen=True)
class StationView:
    """The PLC's own view of a station, read in one call; None where the value is not of good quality."""

    present: bool | None
    """Whether a part waits; None also where no Boolean says so."""
    done: bool | None
    part_id: str | None
    risen: datetime | None
    """When `present` became what it is, by the PLC's clock."""
    done_since: datetime | None = None
    """When `done` became what it is, by the PLC's clock."""
    line: int | None = None
    """Where the PLC's clock tells no rise from another: by which unbroken line of values `risen` does, and no other."""


class PartStatus(StrEnum):
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
    TAKING = "taking"
    """The PLC still shows done of the part before: the next one waits for its turn."""


def standing(part: Part | None, look: StationView, now: float, *, grace_s: float = 0.0) -> PartStatus:
    """Return how things stand by a look at the instant `now`, in ticks, where a Boolean says that a part waits.

    `grace_s` is for how long after its deadline a part whose trigger is low, but whose id is still shown, is answered.
    """
    if look.present is None or look.done is None:
        return PartStatus.UNREADABLE
    if look.done:
        return PartStatus.ANSWERED if part else PartStatus.NOTHING
    if look.present:
        return PartStatus.WAITING if part and _same(part, look, now) else PartStatus.NEW
    if part is None:
        return PartStatus.NOTHING
    # The trigger is low: a pulse's part, or one that moved on, is owed its verdict until the deadline, and for the
    # grace while the PLC shows its id, unless it shows another part's already.
    until = part.deadline + (grace_s if _same_id(part, look) else 0.0)
    return PartStatus.GONE if _other_id(part, look) or now >= until else PartStatus.WAITING


def standing_without_level(part: Part | None, look: StationView, now: float, *, grace_s: float) -> PartStatus:
    """Return how things stand where no Boolean says that a part waits: by done and the part id alone.

    A part that nobody saw is never found this way; one that waited is owed its verdict until deadline and grace.
    """
    if look.done is None:
        return PartStatus.UNREADABLE
    if part is None:
        return PartStatus.NOTHING
    if look.done:
        return PartStatus.ANSWERED
    return PartStatus.GONE if _other_id(part, look) or now > part.deadline + grace_s else PartStatus.WAITING


def standing_in_line(
    parts: Sequence[Part],
    look: StationView,
    now: float,
    *,
    level: bool,
    grace_s: float,
    taking: bool,
    lowers: bool = True,
) -> PartStatus:
    """Return how the first of the parts in line stands, or NEW where the PLC shows one that is not the last of them.

    `taking` says that done was raised for a part before the first, and not seen lowered since; `lowers`, that the PLC
    lowers done, not we. What the PLC shows of trigger and part id is of the last part in line, so it says nothing
    against the first.
    """
    if look.done is None or (level and look.present is None):
        return PartStatus.UNREADABLE
    if not look.done and level and look.present and not (parts and _last(parts[-1], look, now, grace_s)):
        return PartStatus.NEW
    if not parts:
        return PartStatus.NOTHING
    first = parts[0]
    # Done may have been raised, taken and lowered out of our sight: raised again it would be taken for the next part's.
    stayed_low = first.low_since is not None and first.low_since == look.done_since
    taken = first.raising and lowers and not stayed_low
    if (not look.done and taken) or (look.done and not (taking and not first.attempts)):
        return PartStatus.ANSWERED
    if now > first.deadline + grace_s:
        return PartStatus.GONE
    return PartStatus.TAKING if look.done else PartStatus.WAITING


def in_time(part: Part, answer: Answer, now: float, *, risen: datetime | None) -> Answer:
    """Return what is written at `now`: the answer, or after the deadline the fail-safe.

    `risen` is when the trigger that the PLC shows now rose, None where nothing shows it. After the deadline a verdict
    stands only where that is the very rise of this part: then the PLC still waits for it, and it is true.
    """
    if now <= part.deadline or answer.verdict == "unknown" or (risen is not None and risen == part.risen):
        return answer
    return unknown(answer.origin, f"{answer.verdict} came to be written after the deadline", code="late")


def _same(part: Part, look: StationView, now: float) -> bool:
    if part.risen is not None and part.risen == look.risen:
        return not _other_id(part, look)
    if look.line not in {None, part.line} and part.part_id is None and look.part_id is None:
        return now < part.deadline  # nothing tells: by the agreement the PLC keeps its part until done
    return _same_id(part, look) and now < part.deadline


def _last(part: Part, look: StationView, now: float, grace_s: float) -> bool:
    """Whether what the PLC shows is the last part in line: asked about twice, it would get two dones."""
    return _same(part, look, now) or (_same_id(part, look) and now <= part.deadline + grace_s)


def _same_id(part: Part, look: StationView) -> bool:
    return part.part_id is not None and part.part_id == look.part_id


def _other_id(part: Part, look: StationView) -> bool:
    return None not in {part.part_id, look.part_id} and part.part_id != look.part_id


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
