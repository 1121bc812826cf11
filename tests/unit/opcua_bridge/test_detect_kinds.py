"""Which values are a change, a crossing, a part counted, an event; time is handed in."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.detect import Decision, Detection, Detector, detector_of
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import TriggerSettings

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRED, RECOVERED, DEBOUNCED, TOO_SOON = Decision.FIRED, Decision.RECOVERED, Decision.DEBOUNCED, Decision.TOO_SOON
BAD, NONE = Decision.BAD, Decision.NONE
DOUBT = object()
BAD_VALUE = object()
NODE = "nsu=urn:plant;s=Tag"


def detector(kind: str, *, debounce_ms: float = 0, min_interval_ms: float = 0, **when: Any) -> Detector:
    trigger = TriggerSettings.model_validate(
        {
            "name": "t",
            "station": "s",
            "model": "m",
            "source": {"kind": "camera", "camera": "c"},
            "debounce_ms": debounce_ms,
            "min_interval_ms": min_interval_ms,
            "when": {"kind": kind, "node": NODE} | when,
        }
    )
    made = detector_of(trigger, has_done=False)
    assert made is not None
    return made


def sample(value: object, ms: float, **changes: Any) -> Sample:
    at = START + timedelta(milliseconds=ms)
    fields: dict[str, Any] = {"value": value, "quality": "good", "source": at, "server": at, "received": at}
    return Sample(**(fields | {"ticks": 100 + ms / 1000} | changes))


def told(of: Detector, values: list[Any]) -> list[Detection]:
    """What is said of values that come 100 ms apart; DOUBT between two says that some may be missing."""
    seen = []
    for place, value in enumerate(values):
        if value is DOUBT:
            of.mark_gap()
        elif value is BAD_VALUE:
            seen.append(of.see(sample(None, 100 * place, quality="bad")))
        else:
            seen.append(of.see(sample(value, 100 * place)))
    return seen


def said(of: Detector, values: list[Any]) -> list[Decision]:
    return [seen.decision for seen in told(of, values)]


NAN = math.nan


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["a", "a", "b", "a"], [NONE, NONE, FIRED, FIRED]),
        (["a", DOUBT, "a", DOUBT, "b", "c"], [NONE, NONE, RECOVERED, FIRED]),
        (["a", BAD_VALUE, "a", BAD_VALUE, "b"], [NONE, BAD, NONE, BAD, RECOVERED]),
        ([BAD_VALUE, "a", "b"], [BAD, NONE, FIRED]),
        ([DOUBT, "a", DOUBT, "a"], [NONE, NONE]),
        ([1, 1.0, True, 1], [NONE, NONE, FIRED, FIRED]),
        ([1.0, NAN, NAN, 1.0], [NONE, FIRED, NONE, FIRED]),
        ([0, "", "0"], [NONE, FIRED, FIRED]),
        ([1, [1], 1], [NONE, BAD, NONE]),
    ],
)
def test_a_change(values: list[Any], expected: list[Decision]) -> None:
    assert said(detector("change"), values) == expected


@pytest.mark.parametrize(
    ("limit", "values", "expected"),
    [
        ({"above": 80}, [79, 80, 80.1, 85, 80, 81], [NONE, NONE, FIRED, NONE, NONE, FIRED]),
        ({"above": 80, "hysteresis": 5}, [79, 81, 78, 81, 75, 81], [NONE, FIRED, NONE, NONE, NONE, FIRED]),
        ({"below": 3, "hysteresis": 1}, [5, 2, 3.5, 2, 4, 2], [NONE, FIRED, NONE, NONE, NONE, FIRED]),
        ({"below": 0}, [1, 0, -1], [NONE, NONE, FIRED]),
        ({"above": 80}, [90, 95, 70, 90], [NONE, NONE, NONE, FIRED]),
        ({"above": 80, "hysteresis": 5}, [78, 81], [NONE, FIRED]),
        ({"above": 80}, [70, DOUBT, 90, DOUBT, 90, DOUBT, 70], [NONE, RECOVERED, NONE, NONE]),
        ({"above": 80}, [70, NAN, 90], [NONE, BAD, RECOVERED]),
        ({"above": 80}, [70, math.inf, -math.inf, 10**400], [NONE, FIRED, NONE, FIRED]),
        ({"above": 80}, [70, True, "90", BAD_VALUE, 70, 90], [NONE, BAD, BAD, BAD, NONE, FIRED]),
    ],
)
def test_a_crossing(limit: dict[str, float], values: list[Any], expected: list[Decision]) -> None:
    assert said(detector("limit", **limit), values) == expected


@pytest.mark.parametrize(
    ("wraps_at", "values", "expected"),
    [
        (None, [7, 7, 8, 9], [(NONE, 0), (NONE, 0), (FIRED, 0), (FIRED, 0)]),
        (None, [7, 10, 11], [(NONE, 0), (FIRED, 2), (FIRED, 0)]),
        (None, [7, 0, 1], [(NONE, 0), (NONE, 0), (FIRED, 0)]),
        (None, [7, DOUBT, 10, DOUBT, 10, DOUBT, 2, 3], [(NONE, 0), (RECOVERED, 2), (NONE, 0), (NONE, 0), (FIRED, 0)]),
        (255, [254, 255, 0, 2], [(NONE, 0), (FIRED, 0), (FIRED, 0), (FIRED, 1)]),
        (255, [250, DOUBT, 3], [(NONE, 0), (RECOVERED, 8)]),
        (255, [100, 0, 1], [(NONE, 0), (NONE, 0), (FIRED, 0)]),
        (255, [300, 0], [(NONE, 0), (NONE, 0)]),
        (None, [3.0, 4.0, 4.5, True, 5], [(NONE, 0), (FIRED, 0), (BAD, 0), (BAD, 0), (RECOVERED, 0)]),
    ],
)
def test_a_part_counted(wraps_at: int | None, values: list[Any], expected: list[tuple[Decision, int]]) -> None:
    seen = told(detector("counter", wraps_at=wraps_at), values)
    assert [(one.decision, one.missed) for one in seen] == expected


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["delivered", "lost", "dropped", "bad"])), max_size=60),
    st.sampled_from([None, 20, 1000]),
    st.sampled_from([0.0, 150.0]),
)
def test_counted_is_asked_about_or_said_to_be_missed(
    steps: list[tuple[int, str]], wraps_at: int | None, debounce_ms: float
) -> None:
    """Whatever is lost on the way: expected = asked about + debounced + missed, once a value came through."""
    of = detector("counter", wraps_at=wraps_at, debounce_ms=debounce_ms)
    count, accounted, lost, unheard = 0, 0, False, 0
    of.see(sample(0, 0))
    for place, (parts, fate) in enumerate(steps):
        count, unheard = count + parts, unheard + parts
        shown = count if wraps_at is None else count % (wraps_at + 1)
        if wraps_at and unheard > wraps_at // 2:
            return  # more than half a turn lost at once looks like a reset
        if fate == "lost":
            lost = True
            continue
        if lost and fate == "delivered":
            of.mark_gap()
        seen = of.see(
            sample(shown, 100 + 100 * place, quality="bad" if fate == "bad" else "good", overflow=fate == "dropped")
        )
        if fate != "bad":
            accounted += seen.missed + (seen.decision in {FIRED, RECOVERED, DEBOUNCED})
            assert accounted == count
            unheard, lost = 0, False


@settings(deadline=None)
@given(st.lists(st.integers(-10, 10), max_size=60), st.integers(0, 4), st.booleans())
def test_crossings_are_those_of_a_plain_state_machine(values: list[int], hysteresis: int, up: bool) -> None:
    of = detector("limit", hysteresis=hysteresis, **({"above": 2} if up else {"below": -2}))
    outside: bool | None = None
    for place, value in enumerate(values):
        height = value if up else -value
        crossed = outside is False and height > 2
        outside = height > 2 or (outside is True and height > 2 - hysteresis)
        assert (of.see(sample(value, place * 100)).decision is FIRED) == crossed


def test_a_debounced_count_still_tells_what_it_skipped() -> None:
    of = detector("counter", debounce_ms=150)
    assert [(one.decision, one.missed) for one in told(of, [1, 2, 4])] == [(NONE, 0), (FIRED, 0), (DEBOUNCED, 1)]


def test_the_least_interval_counts_from_the_last_request_and_not_from_what_was_held_back() -> None:
    of = detector("change", debounce_ms=50, min_interval_ms=250)
    assert said(of, ["a", "b", "c"]) == [NONE, FIRED, TOO_SOON]
    later = of.see(sample("d", 400))
    assert later.decision is FIRED
    of.not_asked()
    assert of.see(sample("e", 420)).decision is DEBOUNCED
    assert of.see(sample("f", 500)).decision is FIRED


def test_a_plc_clock_that_is_set_blocks_nothing_for_longer_than_the_interval() -> None:
    of = detector("change", min_interval_ms=60_000)
    assert said(of, ["a", "b"]) == [NONE, FIRED]
    back = timedelta(hours=1)
    for minutes, expected in ((0.5, TOO_SOON), (2, FIRED), (2.5, TOO_SOON), (61, FIRED)):
        ms = minutes * 60_000
        at = START + timedelta(milliseconds=ms) - back
        assert of.see(sample(minutes, ms, source=at)).decision is expected


def test_a_clock_set_back_is_remembered_once_it_has_passed_the_last_request_again() -> None:
    of = detector("change", min_interval_ms=60_000)
    assert said(of, ["a", "b"]) == [NONE, FIRED]
    back = timedelta(seconds=30)
    assert of.see(sample("b", 10_000, source=START + timedelta(seconds=10) - back)).decision is NONE
    assert of.see(sample("c", 65_000, source=START + timedelta(seconds=65) - back)).decision is FIRED


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"SourceName": "press", "Severity": 500}, FIRED),
        ({"SourceName": "press", "Severity": 99}, NONE),
        ({"SourceName": "oven", "Severity": 500}, NONE),
        ({"Severity": 500}, NONE),
        ("text", BAD),
    ],
)
def test_an_event(fields: Any, expected: Decision) -> None:
    of = detector("event", min_severity=100, source_name="press")
    assert of.see(sample(fields, 0)).decision is expected


def test_each_event_counts_whatever_was_missed_before_it() -> None:
    of = detector("event", debounce_ms=50)
    of.mark_gap()
    assert said(of, [{}, DOUBT, {}]) == [FIRED, FIRED]
    assert of.see(sample({}, 210)).decision is DEBOUNCED


@pytest.mark.parametrize("kind", ["period", "window"])
def test_the_clock_and_a_window_have_no_values(kind: str) -> None:
    window = {"kind": "window", "input": "x", "tags": {"a": NODE}, "rate_hz": 10, "samples": 4}
    when = {"kind": kind} | ({"every_ms": 100} if kind == "period" else {})
    trigger = TriggerSettings.model_validate(
        {"name": "t", "station": "s", "model": "m", "source": window, "when": when}
    )
    assert detector_of(trigger, has_done=True) is None
