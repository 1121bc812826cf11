"""Which value was in force when."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.history import History

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(ms: float) -> datetime:
    return START + timedelta(milliseconds=ms)


def sample(value: object, ms: float, **changes: Any) -> Sample:
    fields: dict[str, Any] = {"value": value, "quality": "good", "source": at(ms), "server": None, "received": at(ms)}
    return Sample(**(fields | {"ticks": ms / 1000} | changes))


def history(*samples: Sample, limit: int = 8) -> History:
    made = History(limit)
    for one in samples:
        made.add(one)
    return made


def value_at(of: History, ms: float) -> object:
    found = of.at(at(ms))
    return None if found is None else found.value


def test_the_last_value_not_after_the_instant_is_in_force() -> None:
    of = history(sample("a", 0), sample("b", 100), sample("c", 200))
    assert [value_at(of, ms) for ms in (-1, 0, 99, 100, 150, 200, 9999)] == [None, "a", "a", "b", "b", "c", "c"]
    assert of.latest == sample("c", 200)


def test_nothing_is_in_force_before_the_first_value() -> None:
    assert history().latest is None
    assert history().at(START) is None


def test_where_values_may_be_missing_nothing_is_known_between() -> None:
    of = history(sample("a", 0))
    of.mark_gap()
    assert of.latest is None
    assert [value_at(of, 0), value_at(of, 50)] == ["a", None]
    of.add(sample("b", 100))
    of.add(sample("c", 200, overflow=True))
    assert [value_at(of, ms) for ms in (0, 50, 100, 150, 200)] == ["a", None, "b", None, "c"]


def test_a_bad_value_is_in_force_like_any_other() -> None:
    of = history(sample("a", 0), sample(None, 100, quality="bad"))
    found = of.at(at(150))
    assert found is not None
    assert found.quality == "bad"


def test_values_without_a_source_timestamp_cannot_be_placed() -> None:
    of = history(sample("a", 0), sample("b", 100, source=None))
    assert of.at(at(50)) is None
    assert of.latest is not None
    assert of.latest.value == "b"


def test_it_is_bounded() -> None:
    of = history(*(sample(place, place) for place in range(100)), limit=3)
    assert [value_at(of, ms) for ms in (96, 97, 99)] == [None, 97, 99]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=30), st.integers(-5, 160))
def test_what_is_said_is_true(steps: list[tuple[int, bool]], asked: int) -> None:
    """Against the whole truth: a value that is given is the one that the tag had; some are lost on the way."""
    of, truth, now, lost = History(64), [], 0, False
    for place, (wait, delivered) in enumerate(steps):
        now += wait
        truth.append((now, place))
        if not delivered:
            lost = True
            continue
        if lost:
            of.mark_gap()
        of.add(sample(place, now))
        lost = False
    if lost:
        of.mark_gap()
    given_value = value_at(of, asked)
    true_value = next((value for ms, value in reversed(truth) if ms <= asked), None)
    assert given_value in {None, true_value}
    if all(delivered for _, delivered in steps):
        assert given_value == true_value
