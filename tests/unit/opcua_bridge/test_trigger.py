"""Which values of a trigger are an edge; time is handed in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.trigger import Decision, EdgeDetector

START = datetime(2026, 1, 1, tzinfo=UTC)


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


def detector(debounce_ms: float = 20) -> EdgeDetector:
    """A detector that has seen a first value, False."""
    made = EdgeDetector(debounce_ms / 1000)
    assert made.see(sample(value=False, ms=-1000)) is Decision.LOOK
    return made


def test_a_rising_edge_counts_at_once_and_only_once() -> None:
    edges = detector()
    values = [True, True, False, False, True]
    seen = [edges.see(sample(value, 100 * place)) for place, value in enumerate(values)]
    assert seen == [Decision.EDGE, Decision.NONE, Decision.NONE, Decision.NONE, Decision.EDGE]


def test_the_first_value_after_a_connect_asks_for_a_look() -> None:
    assert EdgeDetector(0.02).see(sample(value=True)) is Decision.LOOK


def test_after_doubt_a_true_asks_for_a_look_and_the_next_edge_counts() -> None:
    edges = detector()
    edges.doubt()
    assert edges.see(sample(value=True, ms=1)) is Decision.LOOK
    assert edges.see(sample(value=False, ms=100)) is Decision.NONE
    assert edges.see(sample(value=True, ms=200)) is Decision.EDGE


def test_edges_within_the_debounce_are_ignored_and_it_counts_from_the_accepted_one() -> None:
    edges = detector(20)
    assert edges.see(sample(value=True, ms=0)) is Decision.EDGE
    edges.see(sample(value=False, ms=5))
    assert edges.see(sample(value=True, ms=12)) is Decision.DEBOUNCED
    edges.see(sample(value=False, ms=15))
    assert edges.see(sample(value=True, ms=20)) is Decision.EDGE


def test_debounce_goes_by_the_plc_clock_for_values_that_arrive_together() -> None:
    edges = detector(20)
    at = {"ticks": 5.0}
    assert edges.see(sample(value=True, ms=0, **at)) is Decision.EDGE
    edges.see(sample(value=False, ms=40, **at))
    assert edges.see(sample(value=True, ms=50, **at)) is Decision.EDGE


def test_debounce_goes_by_our_clock_where_the_plc_has_none_or_steps_back() -> None:
    for source in (None, START - timedelta(hours=1)):
        edges = detector(20)
        assert edges.see(sample(value=True, ms=0)) is Decision.EDGE
        edges.see(sample(value=False, ms=5, source=source))
        assert edges.see(sample(value=True, ms=10, source=source)) is Decision.DEBOUNCED
        edges.see(sample(value=False, ms=30, source=source))
        assert edges.see(sample(value=True, ms=40, source=source)) is Decision.EDGE


def test_bad_quality_and_what_is_no_boolean_never_trigger() -> None:
    edges = detector()
    assert edges.see(sample(value=True, quality="bad")) is Decision.BAD
    assert edges.see(sample(None)) is Decision.BAD
    assert edges.see(sample(1)) is Decision.BAD
    assert edges.see(sample(value=True, ms=50)) is Decision.LOOK


def test_an_overflow_asks_for_a_look() -> None:
    edges = detector()
    assert edges.see(sample(value=True, overflow=True)) is Decision.LOOK


def test_a_rise_that_a_look_dealt_with_is_no_edge() -> None:
    edges = detector()
    edges.know(START)
    assert edges.see(sample(value=True, ms=0)) is Decision.NONE
    edges.see(sample(value=False, ms=50))
    assert edges.see(sample(value=True, ms=100)) is Decision.EDGE


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["good", "uncertain", "bad"]), st.integers(1, 50)), max_size=60)
)
def test_an_edge_is_always_a_good_true_after_a_good_false(steps: list[tuple[bool, Any, int]]) -> None:
    edges, now = EdgeDetector(0.02), 0
    before: tuple[bool, str] | None = None
    last_edge: int | None = None
    for value, quality, wait in steps:
        now += wait
        decision = edges.see(sample(value, now, quality=quality))
        if decision is Decision.EDGE:
            assert value is True
            assert quality != "bad"
            assert before is not None
            assert before[0] is False
            assert before[1] != "bad"
            assert last_edge is None or now - last_edge >= 20
            last_edge = now
        before = (value, quality)
