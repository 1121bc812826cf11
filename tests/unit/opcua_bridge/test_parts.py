"""What a look at the PLC says about the part that waits; time is handed in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineside.contract import Result
from lineside_opcua_bridge.station.parts import (
    Answer,
    Closed,
    Part,
    PartStatus,
    StationView,
    answer_of,
    in_time,
    standing,
    standing_in_line,
    standing_without_level,
)

ROSE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = ROSE + timedelta(seconds=5)
BEFORE_DEADLINE, AFTER_DEADLINE = 10.1, 11.0


def part(part_id: str | None = "P-1", risen: datetime | None = ROSE) -> Part:
    return Part.arrived("r-1", seen=10.0, deadline_s=0.4, margin_s=0.02, part_id=part_id, risen=risen)


def look(
    *, present: bool | None = True, done: bool | None = False, part_id: str | None = "P-1", risen: Any = ROSE
) -> StationView:
    return StationView(present=present, done=done, part_id=part_id, risen=risen)


def test_the_times_of_a_part() -> None:
    assert part().deadline == pytest.approx(10.4)
    assert part().answer_by == pytest.approx(10.38)


@pytest.mark.parametrize(
    ("known", "seen", "now", "expected"),
    [
        (None, look(), BEFORE_DEADLINE, PartStatus.NEW),
        (None, look(done=True), BEFORE_DEADLINE, PartStatus.NOTHING),
        (None, look(present=False), BEFORE_DEADLINE, PartStatus.NOTHING),
        (part(), look(done=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), look(present=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), look(), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), look(done=True), BEFORE_DEADLINE, PartStatus.ANSWERED),
        (part(), look(done=True, present=False), AFTER_DEADLINE, PartStatus.ANSWERED),
        # The same rise: the same part, however late.
        (part(), look(), AFTER_DEADLINE, PartStatus.WAITING),
        (part(None), look(), AFTER_DEADLINE, PartStatus.WAITING),
        # The PLC's server restarted, so the rise has another time: the id tells, until the deadline.
        (part(), look(risen=LATER), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), look(risen=LATER), AFTER_DEADLINE, PartStatus.NEW),
        (part(), look(risen=None), BEFORE_DEADLINE, PartStatus.WAITING),
        # Nothing tells that it is the same: it is not.
        (part(None), look(part_id=None, risen=LATER), BEFORE_DEADLINE, PartStatus.NEW),
        (part(None, None), look(part_id=None, risen=None), BEFORE_DEADLINE, PartStatus.NEW),
        (part(), look(part_id="P-2", risen=LATER), BEFORE_DEADLINE, PartStatus.NEW),
        (part(), look(part_id="P-2"), BEFORE_DEADLINE, PartStatus.NEW),
        # The trigger is low: a pulse's part may still wait for its verdict, until the deadline.
        (part(), look(present=False), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), look(present=False), AFTER_DEADLINE, PartStatus.GONE),
        (part(), look(present=False, part_id="P-2"), BEFORE_DEADLINE, PartStatus.GONE),
        (part(None), look(present=False, part_id=None), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), look(present=False, part_id=None), AFTER_DEADLINE, PartStatus.GONE),
    ],
)
def test_how_a_part_stands(known: Part | None, seen: StationView, now: float, expected: PartStatus) -> None:
    assert standing(known, seen, now) is expected


LATE = 99.0


@pytest.mark.parametrize(
    ("known", "seen", "now", "expected"),
    [
        (None, look(present=None), BEFORE_DEADLINE, PartStatus.NOTHING),
        (None, look(present=None, done=True), BEFORE_DEADLINE, PartStatus.NOTHING),
        (part(), look(present=None, done=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), look(present=None, done=True), BEFORE_DEADLINE, PartStatus.ANSWERED),
        (part(), look(present=None), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), look(present=None), AFTER_DEADLINE, PartStatus.WAITING),
        (part(), look(present=None), LATE, PartStatus.GONE),
        (part(), look(present=None, part_id="P-2"), BEFORE_DEADLINE, PartStatus.GONE),
        # Without an id nothing speaks against it.
        (part(None), look(present=None, part_id=None), BEFORE_DEADLINE, PartStatus.WAITING),
    ],
)
def test_how_a_part_stands_where_no_level_says_so(
    known: Part | None, seen: StationView, now: float, expected: PartStatus
) -> None:
    assert standing_without_level(known, seen, now, grace_s=1.0) is expected


def other(part_id: str) -> Part:
    return Part.arrived(part_id, seen=10.05, deadline_s=0.4, margin_s=0.02, part_id=part_id, risen=LATER)


def attempted() -> Part:
    tried = part()
    tried.attempts = 1
    return tried


@pytest.mark.parametrize(
    ("parts", "seen", "now", "taking", "expected"),
    [
        ([], look(present=False), BEFORE_DEADLINE, False, PartStatus.NOTHING),
        ([], look(), BEFORE_DEADLINE, False, PartStatus.NEW),
        ([], look(done=True), BEFORE_DEADLINE, True, PartStatus.NOTHING),
        ([part()], look(), BEFORE_DEADLINE, False, PartStatus.WAITING),
        # What the PLC shows is of the last in line.
        ([part(), other("P-2")], look(part_id="P-2", risen=LATER), BEFORE_DEADLINE, False, PartStatus.WAITING),
        ([part(), other("P-2")], look(part_id="P-3", risen=None), BEFORE_DEADLINE, False, PartStatus.NEW),
        # Done is still up: of the part before, or our own of this one.
        ([part()], look(done=True), BEFORE_DEADLINE, True, PartStatus.TAKING),
        ([part()], look(done=True), LATE, True, PartStatus.GONE),
        ([attempted()], look(done=True), BEFORE_DEADLINE, True, PartStatus.ANSWERED),
        ([part()], look(done=True), BEFORE_DEADLINE, False, PartStatus.ANSWERED),
        ([part()], look(present=None), BEFORE_DEADLINE, False, PartStatus.UNREADABLE),
    ],
)
def test_how_the_first_in_line_stands(
    parts: Any, seen: StationView, now: float, taking: Any, expected: PartStatus
) -> None:
    assert standing_in_line(parts, seen, now, level=True, grace_s=1.0, taking=taking) is expected


def test_after_the_deadline_a_verdict_stands_only_for_the_very_rise() -> None:
    held = Answer("pass", 0.9, "result", "good")
    assert in_time(part(), held, BEFORE_DEADLINE, risen=None) is held
    assert in_time(part(), held, AFTER_DEADLINE, risen=ROSE) is held
    for risen in (None, LATER):
        late = in_time(part(), held, AFTER_DEADLINE, risen=risen)
        assert (late.verdict, late.code, late.confidence) == ("unknown", "late", 0.0)


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
