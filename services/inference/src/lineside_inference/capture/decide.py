"""Whether a part's evidence is kept, and why: the policy's rules, in order, on values."""

from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from lineside.capture import share
from lineside.contract import ANSWERED_ELSEWHERE, TRY_STATION, Capture, Outcome, Request, Result, Verdict
from lineside.spool import Kept

_NO_EVIDENCE = frozenset({"rejected", "disabled"})
"""A wrong request is about no part; a paused line keeps nothing."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one model: which part this is, from 1, and how many were sampled this hour before it."""

    part: int
    sampled: int


@dataclass(frozen=True, slots=True)
class Decision:
    """That the evidence is kept: `always` is never dropped later; `why` is for people."""

    kept: Kept
    why: str


def is_part(request: Request, result: Result) -> bool:
    """Whether this is a part of the line, which `every` counts."""
    return result.status not in _NO_EVIDENCE and request.context.station != TRY_STATION


def decide(
    capture: Capture, request: Request, result: Result, counts: Counts, outcome: Outcome | None = None
) -> Decision | None:
    """Return why the evidence is kept, or None: the first rule that says so counts, those for always first.

    `outcome` is what the PLC got, where that was known before the part was judged: then it had `unknown` already.
    """
    if result.status in _NO_EVIDENCE:
        return None
    if request.capture:
        return Decision("always", "asked for")
    if not is_part(request, result):
        return None
    label, confidence = _surest(result)
    if (why := _always(capture, result, label)) is not None:
        return Decision("always", why)
    late = decide_outcome(capture, outcome) if outcome is not None else None
    why = _sampled(capture, request, confidence, counts)
    if late is not None or why is None or (capture.per_hour is not None and counts.sampled >= capture.per_hour):
        return late
    return Decision("sampled", why)


def decide_outcome(capture: Capture, outcome: Outcome) -> Decision | None:
    """Return why a record of what the PLC got is kept, or None: each `unknown` of the bridge's, each part without any.

    What the inference service decided it has kept itself. While judging is off they are many, and give way first.
    """
    got_it = outcome.verdict is not None and (outcome.verdict != "unknown" or outcome.origin == "judged")
    if got_it or outcome.cause in ANSWERED_ELSEWHERE or "unknown" not in capture.always:
        return None
    why = f"the PLC got {outcome.verdict or 'no verdict'} ({outcome.cause})"
    return Decision("sampled" if outcome.origin == "disabled" else "always", why)


def fair_share(capture: Capture) -> float:
    """Return of which share of all parts, by their ids alone, a policy keeps every one; 0 where it bounds the number.

    Each record says it: whoever judges a version by evidence takes that share, and nothing that was chosen.
    """
    if set(get_args(Verdict)) <= set(capture.always):
        return 1.0
    if capture.per_hour is not None:
        return 0.0
    return 1.0 if capture.every == 1 else capture.rate


def _always(capture: Capture, result: Result, label: str | None) -> str | None:
    if result.verdict in capture.always:
        return f"verdict {result.verdict}"
    found = {label, *(one.label for one in result.findings)}
    return next((f"label {one}" for one in capture.labels if one in found), None)


def _sampled(capture: Capture, request: Request, confidence: float | None, counts: Counts) -> str | None:
    if capture.band is not None and confidence is not None and capture.band[0] <= confidence <= capture.band[1]:
        return f"confidence {confidence:g} in [{capture.band[0]:g}, {capture.band[1]:g}]"
    if capture.every is not None and counts.part % capture.every == 0:
        return f"every {capture.every}"
    if share(request.id) < capture.rate:
        return f"rate {capture.rate:g}"
    return None


def _surest(result: Result) -> tuple[str | None, float | None]:
    """Return the label and confidence of the surest finding, else those of the best label, else nothing."""
    if result.status != "ok":
        return None, None
    if result.findings:
        return result.findings[0].label, result.findings[0].confidence
    if result.scores:
        return max(result.scores.items(), key=lambda pair: pair[1])
    return None, None


class PartCounter:
    """Counts the parts of each model since the start, and those sampled in the hour."""

    def __init__(self) -> None:
        self._parts: dict[str, int] = {}
        self._hour: str = ""
        self._sampled: dict[str, int] = {}

    def count(self, model: str, now: datetime, *, counted: bool) -> Counts:
        """Return where a model stands, with one part more where it is `counted`."""
        hour = f"{now:%Y%m%d%H}"
        if hour != self._hour:
            self._hour = hour
            self._sampled.clear()
        if counted:  # only then its name is one of ours
            self._parts[model] = self._parts.get(model, 0) + 1
        return Counts(self._parts.get(model, 0), self._sampled.get(model, 0))

    def sampled(self, model: str) -> None:
        """Count that this part of a model was sampled."""
        self._sampled[model] = self._sampled.get(model, 0) + 1
