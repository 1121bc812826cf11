"""What a view of the PLC says about the part that waits; time is handed in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineside.contract import Result
from lineside_opcua_bridge.station.part_status import (
    PartStatus,
    StationView,
    status_by_signal,
    status_in_queue,
    status_without_signal,
)
from lineside_opcua_bridge.station.parts import Answer, Part, answer_in_time, answer_of
from lineside_opcua_bridge.station.pending import ClosedRequests

ROSE = datetime(2026, 1, 1, tzinfo=UTC)
LATER = ROSE + timedelta(seconds=5)
BEFORE_DEADLINE, AFTER_DEADLINE = 10.1, 11.0


def part(part_id: str | None = "P-1", risen: datetime | None = ROSE) -> Part:
    return Part.arrived("r-1", seen=10.0, deadline_s=0.4, margin_s=0.02, part_id=part_id, risen=risen)


def view(
    *, present: bool | None = True, done: bool | None = False, part_id: str | None = "P-1", risen: Any = ROSE
) -> StationView:
    return StationView(present=present, done=done, part_id=part_id, risen=risen)


def test_the_times_of_a_part() -> None:
    assert part().deadline == pytest.approx(10.4)
    assert part().answer_by == pytest.approx(10.38)


@pytest.mark.parametrize(
    ("known", "seen", "now", "expected"),
    [
        (None, view(), BEFORE_DEADLINE, PartStatus.NEW),
        (None, view(done=True), BEFORE_DEADLINE, PartStatus.NOTHING),
        (None, view(present=False), BEFORE_DEADLINE, PartStatus.NOTHING),
        (part(), view(done=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), view(present=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), view(), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), view(done=True), BEFORE_DEADLINE, PartStatus.ANSWERED),
        (part(), view(done=True, present=False), AFTER_DEADLINE, PartStatus.ANSWERED),
        # The same rise: the same part, however late.
        (part(), view(), AFTER_DEADLINE, PartStatus.WAITING),
        (part(None), view(), AFTER_DEADLINE, PartStatus.WAITING),
        # The PLC's server restarted, so the rise has another time: the id tells, until the deadline.
        (part(), view(risen=LATER), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), view(risen=LATER), AFTER_DEADLINE, PartStatus.NEW),
        (part(), view(risen=None), BEFORE_DEADLINE, PartStatus.WAITING),
        # Nothing tells that it is the same: it is not.
        (part(None), view(part_id=None, risen=LATER), BEFORE_DEADLINE, PartStatus.NEW),
        (part(None, None), view(part_id=None, risen=None), BEFORE_DEADLINE, PartStatus.NEW),
        (part(), view(part_id="P-2", risen=LATER), BEFORE_DEADLINE, PartStatus.NEW),
        (part(), view(part_id="P-2"), BEFORE_DEADLINE, PartStatus.NEW),
        # The trigger is low: a pulse's part may still wait for its verdict, until the deadline.
        (part(), view(present=False), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), view(present=False), AFTER_DEADLINE, PartStatus.GONE),
        (part(), view(present=False, part_id="P-2"), BEFORE_DEADLINE, PartStatus.GONE),
        (part(None), view(present=False, part_id=None), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), view(present=False, part_id=None), AFTER_DEADLINE, PartStatus.GONE),
    ],
)
def test_the_status_of_a_part(known: Part | None, seen: StationView, now: float, expected: PartStatus) -> None:
    assert status_by_signal(known, seen, now) is expected


LATE = 99.0


@pytest.mark.parametrize(
    ("known", "seen", "now", "expected"),
    [
        (None, view(present=None), BEFORE_DEADLINE, PartStatus.NOTHING),
        (None, view(present=None, done=True), BEFORE_DEADLINE, PartStatus.NOTHING),
        (part(), view(present=None, done=None), BEFORE_DEADLINE, PartStatus.UNREADABLE),
        (part(), view(present=None, done=True), BEFORE_DEADLINE, PartStatus.ANSWERED),
        (part(), view(present=None), BEFORE_DEADLINE, PartStatus.WAITING),
        (part(), view(present=None), AFTER_DEADLINE, PartStatus.WAITING),
        (part(), view(present=None), LATE, PartStatus.GONE),
        (part(), view(present=None, part_id="P-2"), BEFORE_DEADLINE, PartStatus.GONE),
        # Without an id nothing speaks against it.
        (part(None), view(present=None, part_id=None), BEFORE_DEADLINE, PartStatus.WAITING),
    ],
)
def test_the_status_of_a_part_where_no_signal_says_that_it_waits(
    known: Part | None, seen: StationView, now: float, expected: PartStatus
) -> None:
    assert status_without_signal(known, seen, now, grace_s=1.0) is expected


def other(part_id: str) -> Part:
    return Part.arrived(part_id, seen=10.05, deadline_s=0.4, margin_s=0.02, part_id=part_id, risen=LATER)


def attempted() -> Part:
    return replace(part(), attempts=1)


@pytest.mark.parametrize(
    ("parts", "seen", "now", "raised", "expected"),
    [
        ([], view(present=False), BEFORE_DEADLINE, False, PartStatus.NOTHING),
        ([], view(), BEFORE_DEADLINE, False, PartStatus.NEW),
        ([], view(done=True), BEFORE_DEADLINE, True, PartStatus.NOTHING),
        ([part()], view(), BEFORE_DEADLINE, False, PartStatus.WAITING),
        # What the PLC shows is of the last in the queue.
        ([part(), other("P-2")], view(part_id="P-2", risen=LATER), BEFORE_DEADLINE, False, PartStatus.WAITING),
        ([part(), other("P-2")], view(part_id="P-3", risen=None), BEFORE_DEADLINE, False, PartStatus.NEW),
        # Done is still up: of the part before, or our own of this one.
        ([part()], view(done=True), BEFORE_DEADLINE, True, PartStatus.TAKING),
        ([part()], view(done=True), LATE, True, PartStatus.GONE),
        ([attempted()], view(done=True), BEFORE_DEADLINE, True, PartStatus.ANSWERED),
        ([part()], view(done=True), BEFORE_DEADLINE, False, PartStatus.ANSWERED),
        ([part()], view(present=None), BEFORE_DEADLINE, False, PartStatus.UNREADABLE),
    ],
)
def test_the_status_of_the_first_in_the_queue(
    parts: Any, seen: StationView, now: float, raised: Any, expected: PartStatus
) -> None:
    assert status_in_queue(parts, seen, now, has_signal=True, grace_s=1.0, done_raised=raised) is expected


def test_after_the_deadline_a_verdict_stands_only_for_the_very_rise() -> None:
    held = Answer("pass", 0.9, "result", "good")
    assert answer_in_time(part(), held, BEFORE_DEADLINE, risen=None) is held
    assert answer_in_time(part(), held, AFTER_DEADLINE, risen=ROSE) is held
    for risen in (None, LATER):
        late = answer_in_time(part(), held, AFTER_DEADLINE, risen=risen)
        assert (late.verdict, late.code, late.confidence) == ("unknown", "late", 0.0)


def test_the_first_answer_counts() -> None:
    waiting = part()
    first = Answer("unknown", 0.0, "deadline", "late")
    assert waiting.answered(first).answered(Answer("pass", 1.0, "result", "good")).answer is first


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
    closed = ClosedRequests(limit=2)
    closed.add("a", by_result=True)
    closed.add("b", by_result=False)
    assert [closed.kind(name) for name in ("a", "b", "c")] == ["duplicate", "late", "foreign"]
    closed.add("c", by_result=False)
    assert [closed.kind(name) for name in ("a", "b", "c")] == ["foreign", "late", "late"]
