"""Builds the outcome message of a part: what the PLC got for it."""

import time

from lineside.contract import Origin, Outcome, Times, utc_now
from lineside_opcua_bridge.settings import TriggerSettings
from lineside_opcua_bridge.station.parts import Part

_MAX_REASON = 600
_MAX_ERROR = 300
_MAX_NAME = 128

# The outcome's origin by that of the answer; a result with the code `disabled` has one of its own.
_ORIGINS: dict[str, Origin] = {
    "result": "judged",
    "deadline": "deadline",
    "paused": "disabled",
    "missed": "recovered",
}
_BY_CODE: dict[str, Origin] = {"disabled": "disabled", "late": "recovered"}

LOST = {
    "superseded": "a newer part came before its verdict",
    "gone": "the PLC moved on without it",
    "answered_elsewhere": "the PLC shows done, and not from us: a second bridge may serve this station",
    "not_owner": "another bridge serves this station",
    "write_failed": "no write succeeded until the deadline was over",
    "overrun": "too many parts waited",
    "not_taken": "the PLC never lowered done of the part before",
    "unproven": "done was raised, and the PLC's answer was lost",
}
"""Why a part got no verdict from us, in words, by `Part.lost`."""


def outcome_of(settings: TriggerSettings, part: Part) -> Outcome:
    """Return the outcome of a part that waits no longer."""
    answer = part.answer
    problems = [text for text in (LOST.get(part.lost or "", part.lost), part.failure) if text]
    reason = answer.reason if answer else problems[0] if problems else ""
    return Outcome(
        request_id=part.request_id,
        asked=part.asked,
        trigger=settings.name,
        model=settings.model,
        station=settings.station,
        part_id=part.part_id and part.part_id[:_MAX_NAME],
        verdict=answer.verdict if answer and not part.lost else None,
        origin=_BY_CODE.get(answer.code) or _ORIGINS.get(answer.origin, "refused") if answer else "refused",
        cause=answer.code if answer and not part.lost else (part.lost or ""),
        reason=reason[:_MAX_REASON],
        written_at=part.written,
        late=part.written_late,
        write_error=": ".join(problems)[:_MAX_ERROR] or None,
        trigger_to_verdict_ms=round((time.monotonic() - part.seen) * 1000, 3),
        deadline_ms=settings.deadline_ms,
        time=Times(published=utc_now()),
    )
