from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from lineside.capture import share
from lineside.contract import TRY_STATION, CameraSource, Capture, Context, Finding, Request, Result, uuid7
from lineside_inference.capture.decide import Counts, Decision, PartCounter, decide, fair_share

FIRST = Counts(part=1, sampled=0)


def request(**fields: Any) -> Request:
    return Request.new(model="m", source=CameraSource(camera="c"), **fields)


def result(**fields: Any) -> Result:
    return Result(**{"id": "r", "request_id": "q", "status": "ok", "verdict": "pass", "reason": "x"} | fields)


def kept(policy: Capture, given: Result, counts: Counts = FIRST, **fields: Any) -> Decision | None:
    return decide(policy, request(**fields), given, counts)


FAIL = result(verdict="fail")
UNKNOWN = result(status="failed", verdict="unknown", code="camera-failed")
SCRATCH = Finding(label="scratch", confidence=0.7)
PIT = Finding(label="pit", confidence=0.6)


@pytest.mark.parametrize(
    ("capture", "given", "expected"),
    [
        (Capture(), result(), None),
        (Capture(), FAIL, Decision("always", "verdict fail")),
        (Capture(), UNKNOWN, Decision("always", "verdict unknown")),
        (Capture(), result(status="expired", verdict="unknown"), Decision("always", "verdict unknown")),
        (Capture(always=()), FAIL, None),
        (Capture(always=("pass",)), result(), Decision("always", "verdict pass")),
        (Capture(labels=("pit",)), result(findings=(SCRATCH, PIT)), Decision("always", "label pit")),
        (Capture(labels=("pit",)), result(findings=(SCRATCH,), scores={"pit": 0.9}), None),  # found, not best score
        (Capture(labels=("pit",)), result(scores={"pit": 0.9, "good": 0.1}), Decision("always", "label pit")),
        (Capture(labels=("pit",)), result(scores={"pit": 0.1, "good": 0.9}), None),
        (Capture(band=(0.6, 0.8)), result(findings=(SCRATCH,)), Decision("sampled", "confidence 0.7 in [0.6, 0.8]")),
        (Capture(band=(0.7, 0.7)), result(findings=(SCRATCH,)), Decision("sampled", "confidence 0.7 in [0.7, 0.7]")),
        (Capture(band=(0.71, 0.8)), result(findings=(SCRATCH,)), None),
        (Capture(band=(0.5, 0.65)), result(findings=(SCRATCH, PIT)), None),  # the surest counts
        (Capture(band=(0.4, 0.6)), result(scores={"a": 0.5}), Decision("sampled", "confidence 0.5 in [0.4, 0.6]")),
        (Capture(band=(0, 1)), result(), None),  # a raw head gives no confidence
        (Capture(rate=1), result(), Decision("sampled", "rate 1")),
        (Capture(rate=1), FAIL, Decision("always", "verdict fail")),
    ],
)  # fmt: skip
def test_the_policy_decides(capture: Capture, given: Result, expected: Decision | None) -> None:
    assert kept(capture, given) == expected


@pytest.mark.parametrize("status", ["rejected", "disabled"])
def test_what_is_no_part_is_no_evidence_even_where_asked_for(status: str) -> None:
    no_part = result(status=status, verdict="unknown")
    assert kept(Capture(rate=1, every=1), no_part, capture=True) is None


def test_what_was_asked_for_is_kept_whatever_the_policy_says() -> None:
    never = Capture(rate=0, always=(), per_hour=0)
    assert kept(never, result(), capture=True) == Decision("always", "asked for")
    assert kept(never, result()) is None


def test_a_picture_to_try_is_kept_only_where_asked_for() -> None:
    everything, trying = Capture(rate=1), Context(station=TRY_STATION)
    assert kept(everything, FAIL, context=trying) is None
    assert kept(everything, FAIL, context=trying, capture=True) == Decision("always", "asked for")


def test_every_nth_part_of_a_model() -> None:
    thirds = [bool(kept(Capture(every=3), result(), Counts(part, 0))) for part in range(1, 8)]
    assert thirds == [False, False, True, False, False, True, False]


def test_the_hours_bound_is_for_the_sampled_only() -> None:
    some = Capture(rate=1, per_hour=2, labels=("scratch",))
    assert [bool(kept(some, result(), Counts(9, sampled))) for sampled in (0, 1, 2, 3)] == [True, True, False, False]
    full = Counts(9, 5)
    assert kept(some, FAIL, full) is not None
    assert kept(some, result(findings=(SCRATCH,)), full) == Decision("always", "label scratch")
    assert kept(some, result(), full, capture=True) is not None


@given(st.text(alphabet="abcdef0123456789-", min_size=1, max_size=36), st.floats(0, 1))
def test_the_same_id_decides_the_same(name: str, rate: float) -> None:
    ask = request(id=f"a{name}")
    first = decide(Capture(rate=rate), ask, result(), FIRST)
    assert first == decide(Capture(rate=rate), ask, result(), Counts(77, 3))
    assert (first is not None) == (share(ask.id) < rate)
    assert decide(Capture(rate=1), ask, result(), FIRST) is not None
    assert decide(Capture(rate=0), ask, result(), FIRST) is None


def test_the_rate_is_a_share_of_all() -> None:
    taken = sum(share(uuid7()) < 0.25 for _ in range(8000))
    assert 1800 < taken < 2200  # five standard deviations


@pytest.mark.parametrize(
    ("capture", "of_all"),
    [
        (Capture(), 0.0),
        (Capture(rate=0.2), 0.2),
        (Capture(rate=0.2, every=7, labels=("pit",), band=(0.1, 0.2)), 0.2),
        (Capture(rate=0.2, every=1), 1.0),
        (Capture(rate=1.0, per_hour=50), 0.0),
        (Capture(always=("unknown", "pass", "fail"), per_hour=50), 1.0),
    ],
)
def test_of_the_fair_share_every_part_is_kept_whatever_it_is(capture: Capture, of_all: float) -> None:
    assert fair_share(capture) == of_all
    asks = [request() for _ in range(300)]
    used_up = Counts(part=4, sampled=60)
    assert all(
        decide(capture, each, given, used_up)
        for each in asks
        for given in (result(), FAIL, UNKNOWN)
        if share(each.id) < of_all
    )


def test_parts_are_counted_by_model_and_samples_by_hour() -> None:
    counter, now = PartCounter(), datetime(2026, 11, 22, 2, 59, tzinfo=UTC)
    assert counter.count("m", now, counted=True) == Counts(1, 0)
    counter.sampled("m")
    assert counter.count("m", now, counted=False) == Counts(1, 1)  # no part of the line
    assert counter.count("other", now, counted=True) == Counts(1, 0)
    assert counter.count("m", now + timedelta(minutes=2), counted=True) == Counts(2, 0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"rate": 1.5}, "less than or equal to 1"),
        ({"evry": 3}, "evry"),
        ({"every": 0}, "greater than or equal to 1"),
        ({"band": [0.9, 0.1]}, "band: 0.9 is above 0.1"),
        ({"keep": ["pixels"]}, "'image', 'input', 'outputs' or 'overlay'"),
        ({"always": ["bad"]}, "'pass', 'fail' or 'unknown'"),
    ],
)
def test_a_wrong_policy_is_refused_by_name(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Capture.model_validate(fields)
