"""A part that waits for its verdict, and the answer that is written back for it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from lineside.contract import Result, Verdict

Origin = Literal[
    "result",
    "deadline",
    "bus",
    "error",
    "overload",
    "overrun",
    "missed",
    "paused",
    "window",
    "message",
    "moved_on",
    "trigger",
]


@dataclass(frozen=True)
class Answer:
    """What is written back for a part.

    `origin` says what decided: a result; the deadline; a bus that refused the request; an error report; more parts than
    can be judged in time (overload); too many at one station (overrun), or parts that were missed; a pause; a window
    that cannot be judged; a request too large for the bus; a condition whose value at the trigger is unknown because
    the PLC moved on; a trigger value that cannot be used. `code` is what the PLC may be told.
    """

    verdict: Verdict
    confidence: float
    origin: Origin
    reason: str
    code: str = "ok"
    findings: int = 0


def unknown(origin: Origin, reason: str, *, code: str | None = None) -> Answer:
    """Return the fail-safe answer; its code is the origin's name where none is given."""
    return Answer("unknown", 0.0, origin, reason, code or origin)


@dataclass(frozen=True)
class Part:
    """A part that waits for its verdict. Times without a date are ticks: seconds of our monotonic clock."""

    request_id: str
    part_id: str | None
    risen: datetime | None
    """When its handshake signal rose, by the PLC's clock."""
    seen: float
    """When the bridge got the trigger."""
    deadline: float
    """When the PLC must have the verdict."""
    answer_by: float
    """When `unknown` is written for want of a verdict."""
    epoch: int = 0
    """The epoch of the handshake signal's values in which it rose (see `stamps`)."""
    asked: bool = True
    """Whether there is a request for it."""
    answer: Answer | None = None
    attempts: int = 0
    """Write-backs begun."""
    raising: bool = False
    """Whether a write of done was sent whose response is unknown."""
    low_since: datetime | None = None
    """Since when done was low before that write, by the PLC's clock."""
    failure: str | None = None
    """How the last write-back failed, or what of it the PLC refused."""
    written: datetime | None = None
    """When done was raised, by our clock."""
    written_late: bool = False
    """Whether that was after the deadline."""
    lost: str | None = None
    """Why it got no verdict from us."""

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
        epoch: int = 0,
        asked: bool = True,
    ) -> "Part":
        """Return the part of a trigger that was seen at `seen`."""
        answer_by = seen + deadline_s - margin_s
        return cls(request_id, part_id, risen, seen, seen + deadline_s, answer_by, epoch, asked)

    def answered(self, answer: Answer) -> "Part":
        """Return the part with its answer; the first one counts."""
        return self if self.answer else replace(self, answer=answer)


def answer_of(result: Result) -> Answer:
    """Return the answer that a result is: its verdict, and its confidence from 0 to 1.

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


def answer_in_time(part: Part, answer: Answer, now: float, *, risen: datetime | None) -> Answer:
    """Return what is written at `now`: the answer, or after the deadline the fail-safe.

    `risen` is when the handshake signal that the PLC shows now rose, None where nothing shows it. After the deadline a
    verdict stands only where that is the very rise of this part: then the PLC still waits for it, and it is true.
    """
    if now <= part.deadline or answer.verdict == "unknown" or (risen is not None and risen == part.risen):
        return answer
    return unknown(answer.origin, f"{answer.verdict} came to be written after the deadline", code="late")
