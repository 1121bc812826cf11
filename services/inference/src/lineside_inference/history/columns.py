"""What is written of a part: two halves, of what was judged and of what the PLC got, that come in either order.

A half is a row's columns by name; instants are milliseconds since 1970, UTC.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lineside.contract import ANSWERED_ELSEWHERE, Outcome, Timing, to_json, utc_now
from lineside_inference.dataplane.judged import Judged
from lineside_inference.interpret.thresholds import Thresholds

Columns = dict[str, Any]

MOST_SCORES = 16
MOST_FINDINGS = 16
MOST_THRESHOLDS = 64
MOST_REASON = 300
_MARK_BYTES = 6
_DIGITS = 4
STAGES = tuple(Timing.model_fields)
"""The stages whose milliseconds are kept, in the order in which they are stored."""
VERDICTS = ("pass", "fail", "unknown")
ORIGINS = ("judged", "deadline", "disabled", "recovered", "refused")
WORDS = ("station", "trigger", "model", "cause", "labels", "thresholds")
"""Columns whose texts are the same for many parts: a file has each text once."""
TOLD = ("at", "trigger", "verdict", "written", "origin", "cause", "reason", "write_error", "written_at", "late", "mark")
"""Columns of which the outcome's value is the one that counts."""


def judged_half(judged: Judged, in_force: Thresholds | None, now: datetime) -> Columns:
    """Return the half of a part that was judged, or refused, and answered at `now`."""
    request, result = judged.request, judged.result
    model = result.model
    findings = [[one.label, round(one.confidence, _DIGITS)] for one in result.findings[:MOST_FINDINGS]]
    scores = {label: round(score, _DIGITS) for label, score in list(result.scores.items())[:MOST_SCORES]}
    code = result.code or "ok"
    return {
        "at": _ms(now),
        "asked_at": _ms(request.time.received or judged.arrival.wall),
        "judged_at": _ms(now),
        "station": _text(request.context.station),
        "part_id": _text(request.context.part_id),
        "model": _json([request.model, model.version if model else None, model.digest if model else None]),
        "verdict": VERDICTS.index(result.verdict),
        "judged": VERDICTS.index(result.verdict),
        "cause": code,
        "reason": None if code == "ok" else _text(result.reason[:MOST_REASON]),
        "confidence": confidence_of(result.findings, result.scores),
        "labels": _json(sorted({one.label for one in result.findings})) if result.findings else None,
        "findings": _json(findings) if findings else None,
        "scores": _json(scores) if scores else None,
        "thresholds": _json(_shown(in_force)) if in_force else None,
        "timings": _timings(result.timing_ms),
        "deadline_ms": request.deadline_ms,
        "evidence": 1 if result.timing_ms.capture is not None else None,  # it was chosen, and is on its way at least
    }


def told_half(outcome: Outcome) -> Columns:
    """Return the half of what the PLC got."""
    moment = outcome.written_at or outcome.time.published or utc_now()
    elsewhere = outcome.cause in ANSWERED_ELSEWHERE
    return {
        "at": _ms(moment),
        "asked_at": _ms(outcome.time.received) if outcome.time.received else None,
        "station": _text(outcome.station),
        "part_id": _text(outcome.part_id),
        "trigger": _text(outcome.trigger),
        "model": _json([outcome.model, None, None]),
        "verdict": None if elsewhere else VERDICTS.index(outcome.verdict or "unknown"),
        "written": None if outcome.verdict is None else VERDICTS.index(outcome.verdict),
        "origin": ORIGINS.index(outcome.origin),
        "cause": _text(outcome.cause),
        "reason": None if outcome.cause == "ok" else _text(outcome.reason[:MOST_REASON]),
        "write_error": _text(outcome.write_error),
        "written_at": _ms(outcome.written_at) if outcome.written_at else None,
        "late": int(outcome.late),
        "to_verdict_ms": outcome.trigger_to_verdict_ms,
        "deadline_ms": outcome.deadline_ms,
        "mark": mark_of(outcome),
    }


def joined(judged: Columns | None, told: Columns | None) -> Columns:
    """Return one row's columns of the halves that are known; where both say something the outcome says when and why."""
    if judged is None or told is None:
        return dict(judged or told or {})
    known = {name: value for name, value in judged.items() if value is not None}
    return {**told, **known, **{name: told[name] for name in TOLD}}


def mark_of(outcome: Outcome) -> int:
    """Return a number by which an outcome that is told again is known as the same one."""
    same = outcome.model_copy(update={"time": outcome.time.model_copy(update={"published": None})})
    return int.from_bytes(hashlib.blake2b(to_json(same), digest_size=_MARK_BYTES).digest())


def confidence_of(findings: tuple[Any, ...], scores: Mapping[str, float]) -> float | None:
    """Return the confidence of the surest finding, else the highest score; None without either."""
    surest = max((one.confidence for one in findings), default=None)
    return surest if surest is not None else max(scores.values(), default=None)


def _shown(in_force: Thresholds) -> dict[str, float]:
    named = dict(sorted(in_force.named.items())[:MOST_THRESHOLDS])
    return {**named, "default": in_force.default}


def _timings(timing: Timing) -> str | None:
    values = [getattr(timing, stage) for stage in STAGES]
    return None if all(value is None for value in values) else _json([v and round(v, 2) for v in values])


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def instant(ms: int | None) -> str | None:
    """Return milliseconds since 1970 as RFC 3339 in UTC."""
    if ms is None:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(text: str | None) -> str | None:
    """Return a text as SQLite takes it: of what is no character, as half of a pair, its escape."""
    return None if text is None else text.encode(errors="backslashreplace").decode()


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
