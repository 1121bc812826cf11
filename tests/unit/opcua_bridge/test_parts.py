"""What a look at the PLC says about the part that waits; time is handed in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineside.contract import Result
from lineside_opcua_bridge.parts import Answer, Closed, Look, Part, Standing, answer_of, standing

ROSE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = ROSE + timedelta(seconds=5)
BEFORE_DEADLINE, AFTER_DEADLINE = 10.1, 11.0


def part(part_id: str | None = "P-1", risen: datetime | None = ROSE) -> Part:
    return Part.arrived("r-1", seen=10.0, deadline_s=0.4, margin_s=0.02, part_id=part_id, risen=risen)


def look(
    *, present: bool | None = True, done: bool | None = False, part_id: str | None = "P-1", risen: Any = ROSE
) -> Look:
    return Look(present=present, done=done, part_id=part_id, risen=risen)


def test_the_times_of_a_part() -> None:
    assert part().deadline == pytest.approx(10.4)
    assert part().answer_by == pytest.approx(10.38)


@pytest.mark.parametrize(
    ("known", "seen", "now", "expected"),
    [
        (None, look(), BEFORE_DEADLINE, Standing.NEW),
        (None, look(done=True), BEFORE_DEADLINE, Standing.NOTHING),
        (None, look(present=False), BEFORE_DEADLINE, Standing.NOTHING),
        (part(), look(done=None), BEFORE_DEADLINE, Standing.UNREADABLE),
        (part(), look(present=None), BEFORE_DEADLINE, Standing.UNREADABLE),
        (part(), look(), BEFORE_DEADLINE, Standing.WAITING),
        (part(), look(done=True), BEFORE_DEADLINE, Standing.ANSWERED),
        (part(), look(done=True, present=False), AFTER_DEADLINE, Standing.ANSWERED),
        # The same rise: the same part, however late.
        (part(), look(), AFTER_DEADLINE, Standing.WAITING),
        (part(None), look(), AFTER_DEADLINE, Standing.WAITING),
        # The PLC's server restarted, so the rise has another time: the id tells, until the deadline.
        (part(), look(risen=LATER), BEFORE_DEADLINE, Standing.WAITING),
        (part(), look(risen=LATER), AFTER_DEADLINE, Standing.NEW),
        (part(), look(risen=None), BEFORE_DEADLINE, Standing.WAITING),
        # Nothing tells that it is the same: it is not.
        (part(None), look(part_id=None, risen=LATER), BEFORE_DEADLINE, Standing.NEW),
        (part(None, None), look(part_id=None, risen=None), BEFORE_DEADLINE, Standing.NEW),
        (part(), look(part_id="P-2", risen=LATER), BEFORE_DEADLINE, Standing.NEW),
        (part(), look(part_id="P-2"), BEFORE_DEADLINE, Standing.NEW),
        # The trigger is low: a pulse's part may still wait for its verdict, until the deadline.
        (part(), look(present=False), BEFORE_DEADLINE, Standing.WAITING),
        (part(), look(present=False), AFTER_DEADLINE, Standing.GONE),
        (part(), look(present=False, part_id="P-2"), BEFORE_DEADLINE, Standing.GONE),
        (part(None), look(present=False, part_id=None), BEFORE_DEADLINE, Standing.WAITING),
        (part(), look(present=False, part_id=None), AFTER_DEADLINE, Standing.GONE),
    ],
)
def test_how_a_part_stands(known: Part | None, seen: Look, now: float, expected: Standing) -> None:
    assert standing(known, seen, now) is expected


def test_the_first_answer_counts() -> None:
    waiting = part()
    first = Answer("unknown", 0.0, "deadline", "late")
    assert waiting.decide(first)
    assert not waiting.decide(Answer("pass", 1.0, "result", "good"))
    assert waiting.answer is first


def result(**fields: Any) -> Result:
    return Result.model_validate(
        {"id": "a", "request_id": "r-1", "status": "ok", "verdict": "fail", "reason": "because"} | fields
    )


@pytest.mark.parametrize(
    ("fields", "confidence"),
    [
        ({"findings": [{"label": "a", "confidence": 0.4}, {"label": "b", "confidence": 0.9}], "scores": {"x": 1}}, 0.9),
        ({"scores": {"good": 0.2, "scratch": 0.8}}, 0.8),
        ({}, 0.0),
        ({"scores": {"anomaly": 7.5}}, 1.0),
        ({"verdict": "unknown", "status": "failed", "code": "camera-timeout", "scores": {"x": 1}}, 0.0),
    ],
)
def test_the_confidence_that_is_written(fields: dict[str, Any], confidence: float) -> None:
    assert answer_of(result(**fields)).confidence == confidence


def test_the_reason_names_the_code() -> None:
    failed = answer_of(result(verdict="unknown", status="failed", code="camera-timeout", reason="no frame"))
    assert (failed.verdict, failed.reason) == ("unknown", "camera-timeout: no frame")


def test_closed_requests_are_told_apart_and_forgotten_in_order() -> None:
    closed = Closed(limit=2)
    closed.add("a", by_result=True)
    closed.add("b", by_result=False)
    assert [closed.kind(name) for name in ("a", "b", "c")] == ["duplicate", "late", "foreign"]
    closed.add("c", by_result=False)
    assert [closed.kind(name) for name in ("a", "b", "c")] == ["foreign", "late", "late"]
