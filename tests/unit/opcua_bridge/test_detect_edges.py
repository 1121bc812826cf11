"""Which values of a Boolean are an edge; time is handed in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.detect import Decision
from lineside_opcua_bridge.detect.debouncer import Debouncer
from lineside_opcua_bridge.detect.edges import EdgeDetector
from lineside_opcua_bridge.samples import Sample

START = datetime(2026, 1, 1, tzinfo=UTC)
FIRED, RECOVERED, DEBOUNCED, TOO_SOON = Decision.FIRED, Decision.RECOVERED, Decision.DEBOUNCED, Decision.TOO_SOON
BAD, RECHECK, NONE = Decision.BAD, Decision.RECHECK, Decision.NONE


def sample(value: object, ms: float = 0.0, **changes: Any) -> Sample:
    at = START + timedelta(milliseconds=ms)
    fields: dict[str, Any] = {
        "value": value,
        "quality": "good",
        "source": at,
        "server": at,
        "received": at,
        "ticks": 100 + ms / 1000,
    }
    return Sample(**(fields | changes))


class Edges:
    """A detector that has seen a first value, low; `see` returns the decision alone."""

    def __init__(self, *, active: bool = True, has_done: bool = True, debounce_ms: float = 20, interval_ms: float = 0):
        self.detector = EdgeDetector(
            Debouncer(debounce_ms / 1000, interval_ms / 1000), active=active, has_done=has_done
        )
        assert self.see(not active, -1000) is (RECHECK if has_done else NONE)

    def see(self, value: object, ms: float = 0.0, **changes: Any) -> Decision:
        return self.detector.see(sample(value, ms, **changes)).decision


@pytest.mark.parametrize("active", [True, False])
def test_an_edge_counts_at_once_and_only_once(active: bool) -> None:
    edges = Edges(active=active)
    values = [active, active, not active, not active, active]
    seen = [edges.see(value, 100 * place) for place, value in enumerate(values)]
    assert seen == [FIRED, NONE, NONE, NONE, FIRED]


def test_the_first_value_after_a_connect_asks_for_a_recheck() -> None:
    assert EdgeDetector(Debouncer(0.02, 0)).see(sample(value=True)).decision is RECHECK


def test_after_doubt_a_true_asks_for_a_recheck_and_the_next_edge_counts() -> None:
    edges = Edges()
    edges.detector.mark_gap()
    assert [edges.see(value, ms) for value, ms in [(True, 1), (False, 100), (True, 200)]] == [RECHECK, NONE, FIRED]


def test_without_a_done_flag_what_has_risen_while_values_were_missing_is_recovered() -> None:
    edges = Edges(has_done=False)
    edges.detector.mark_gap()
    assert edges.see(value=True, ms=100) is RECOVERED
    edges.detector.mark_gap()
    assert edges.see(value=True, ms=200) is NONE, "it was high before: the same part, as far as anyone knows"
    assert edges.see(value=False, ms=300, overflow=True) is NONE
    assert edges.see(value=True, ms=400, overflow=True) is RECOVERED
    assert edges.see(value=False, ms=500) is NONE
    assert edges.see(value=True, ms=600, quality="bad") is BAD
    assert edges.see(value=True, ms=700) is RECOVERED
    never_low = EdgeDetector(Debouncer(0.02, 0), has_done=False)
    assert never_low.see(sample(value=True)).decision is NONE


def test_edges_within_the_debounce_are_ignored_and_it_counts_from_the_accepted_one() -> None:
    edges = Edges()
    steps = [(True, 0), (False, 5), (True, 12), (False, 15), (True, 20)]
    assert [edges.see(value, ms) for value, ms in steps] == [FIRED, NONE, DEBOUNCED, NONE, FIRED]


def test_debounce_goes_by_the_plc_clock_for_values_that_arrive_together() -> None:
    edges = Edges()
    at = {"ticks": 105.0}
    assert edges.see(value=True, ms=0, **at) is FIRED
    edges.see(value=False, ms=40, **at)
    assert edges.see(value=True, ms=50, **at) is FIRED


@pytest.mark.parametrize("source", [None, START - timedelta(hours=1), START + timedelta(hours=1)])
def test_debounce_goes_by_our_clock_where_the_plc_has_none_or_it_was_set(source: datetime | None) -> None:
    edges = Edges()
    edges.see(value=False, ms=-500)
    assert edges.see(value=True, ms=0) is FIRED
    edges.see(value=False, ms=5, source=source)
    assert edges.see(value=True, ms=10, source=source) is DEBOUNCED
    edges.see(value=False, ms=30, source=source)
    assert edges.see(value=True, ms=40, source=source) is FIRED


def test_bad_quality_and_what_is_no_boolean_never_trigger() -> None:
    edges = Edges()
    assert [edges.see(value=True, quality="bad"), edges.see(None), edges.see(1)] == [BAD, BAD, BAD]
    assert edges.see(value=True, ms=50) is RECHECK


def test_an_overflow_asks_for_a_recheck() -> None:
    assert Edges().see(value=True, overflow=True) is RECHECK


def test_a_rise_that_a_look_dealt_with_is_no_edge_and_its_bounce_is_debounced() -> None:
    edges = Edges()
    edges.detector.mark_handled(START)
    assert edges.see(value=True, ms=0) is NONE
    edges.see(value=False, ms=5)
    assert edges.see(value=True, ms=10) is DEBOUNCED
    edges.see(value=False, ms=50)
    assert edges.see(value=True, ms=100) is FIRED


def test_to_know_of_the_edge_that_counted_leaves_its_time_by_our_clock() -> None:
    edges = Edges()
    assert edges.see(value=True, ms=0) is FIRED
    edges.detector.mark_handled(START)
    edges.see(value=False, ms=5, source=None)
    assert edges.see(value=True, ms=10, source=None) is DEBOUNCED


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["good", "uncertain", "bad"]), st.integers(1, 50)), max_size=60)
)
def test_an_edge_is_always_a_good_true_after_a_good_false(steps: list[tuple[bool, Any, int]]) -> None:
    edges, now = EdgeDetector(Debouncer(0.02, 0)), 0
    before: tuple[bool, str] | None = None
    last_edge: int | None = None
    for value, quality, wait in steps:
        now += wait
        decision = edges.see(sample(value, now, quality=quality)).decision
        assert decision is not RECOVERED
        if decision is FIRED:
            assert value is True
            assert quality != "bad"
            assert before is not None
            assert before[0] is False
            assert before[1] != "bad"
            assert last_edge is None or now - last_edge >= 20
            last_edge = now
        before = (value, quality)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 50)), min_size=1, max_size=60), st.booleans())
def test_every_rise_is_said_once_or_lies_where_values_are_missing(
    steps: list[tuple[bool, bool, int]], has_done: bool
) -> None:
    """Each step of the PLC's Boolean is delivered or lost; the detector is told of a loss before the next value."""
    edges = EdgeDetector(Debouncer(0.02, 0), has_done=has_done)
    edges.see(sample(value=False, ms=0))
    truth, now, lost, risen = False, 0, False, 0
    for value, delivered, wait in steps:
        now += wait
        risen += value and not truth
        truth = value
        if not delivered:
            lost = True
            continue
        if lost:
            edges.mark_gap()
        said = edges.see(sample(value, now)).decision
        if lost and has_done:
            assert said is RECHECK
        elif lost:
            assert said in ({RECOVERED, DEBOUNCED, NONE} if risen else {NONE})
        else:
            assert said in ({FIRED, DEBOUNCED} if risen else {NONE})
        lost, risen = False, 0
