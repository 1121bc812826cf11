"""One column on a grid, against a reference that looks at one instant at a time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.windows import Unusable
from lineside_opcua_bridge.windows.resample import GapRules, resample
from lineside_opcua_bridge.windows.tag_series import TagSeries, instant_of, microseconds

START = datetime(2026, 1, 1, tzinfo=UTC)
MS = 1000
"""Microseconds."""


@dataclass
class Came:
    """A value as it came; None is one of bad quality. `broken`: values may be missing before it."""

    ms: int
    value: float | None
    broken: bool = False


def line_of(came: list[Came], *, doubted: bool = False, keep: int = 1000) -> TagSeries:
    series = TagSeries(keep=keep, late_us=1000 * MS)
    for one in came:
        if one.broken:
            series.mark_gap()
        add(series, sample(one.value, one.ms))
    if doubted:
        series.mark_gap()
    return series


def sample(value: object, ms: float, **changes: Any) -> Sample:
    at = START + timedelta(milliseconds=ms)
    quality = "bad" if value is None else "good"
    fields: dict[str, Any] = {"value": value, "quality": quality, "source": at, "server": None, "received": at}
    return Sample(**(fields | {"ticks": 100 + ms / 1000} | changes))


def add(series: TagSeries, one: Sample) -> bool:
    moment = instant_of(one)
    return series.add(one, microseconds(moment) if moment else None)


def rules(gaps: Any = "hold", bad: Any = "gap", max_gap_ms: int = 30, period_ms: float = 10) -> GapRules:
    return GapRules(gaps, bad, max_gap_ms * MS, period_ms * MS)


def on_grid(series: TagSeries, instants: list[int], policy: GapRules) -> list[float] | str:
    grid = np.array([microseconds(START) + ms * MS for ms in instants])
    found = resample(series, grid, policy)
    return found.code if isinstance(found, Unusable) else found.tolist()


def reference(came: list[Came], instants: list[int], policy: GapRules, *, doubted: bool) -> list[float] | str:
    """The same by definition, slowly; ms instead of microseconds."""
    start, end = instants[0], instants[-1]
    if not came or came[0].ms > start:
        return "window-short"
    if not any(one.value is not None and one.ms <= start for one in came):
        return "window-quality"
    in_force = max(one.ms for one in came if one.ms <= start)
    if policy.bad == "refuse" and any(one.value is None and in_force <= one.ms <= end for one in came):
        return "window-quality"
    found = [reference_at(came, ms, end, policy, doubted=doubted) for ms in instants]
    return "window-gap" if None in found else [value for value in found if value is not None]


def reference_at(came: list[Came], ms: int, end: int, policy: GapRules, *, doubted: bool) -> float | None:
    place = max(at for at, one in enumerate(came) if one.value is not None and one.ms <= ms)
    good = came[place]
    next_good = next((one for one in came[place + 1 :] if one.value is not None), None)
    follower = came[place + 1] if place + 1 < len(came) else None
    unsure = policy.gaps == "refuse" or (doubted if follower is None else follower.broken)
    begin = good.ms if unsure else float("inf") if follower is None else follower.ms
    known = ms == good.ms or ms < begin
    stop = end if next_good is None else next_good.ms
    if not known and stop - begin > policy.max_gap_us / MS:
        return None
    value = good.value
    assert value is not None
    if policy.gaps == "linear" and next_good is not None:
        assert next_good.value is not None
        if not known:
            value += (next_good.value - value) * (ms - begin) / (stop - begin)
        elif follower is next_good and not next_good.broken:
            bend = max(good.ms, next_good.ms - policy.period_us / MS)
            value += (next_good.value - value) * max(0, ms - bend) / (next_good.ms - bend)
    return value


VALUES = st.one_of(st.none(), st.integers(-100, 100).map(float), st.integers(-100, 100).map(float))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), VALUES, st.sampled_from([False, False, False, True])), max_size=20),
    st.booleans(),
    st.floats(0, 1),
    st.integers(1, 20),
    st.sampled_from(["hold", "linear", "refuse"]),
    st.sampled_from(["gap", "refuse"]),
    st.sampled_from([5, 30, 200]),
)
def test_every_instant_is_as_the_definition_says(
    steps: list[tuple[int, float | None, bool]],
    doubted: bool,
    start: float,
    samples: int,
    gaps: str,
    bad: str,
    max_gap_ms: int,
) -> None:
    came, now = [], 0
    for wait, value, broken in steps:
        now += wait
        came.append(Came(now, value, broken))
    policy = rules(gaps, bad, max_gap_ms)
    first = came[0].ms if came else 0
    instants = [first + round(start * (now - first)) + 10 * place for place in range(samples)]
    expected = reference(came, instants, policy, doubted=doubted and bool(came))
    actual = on_grid(line_of(came, doubted=doubted), instants, policy)
    assert actual == expected if isinstance(expected, str) else actual == pytest.approx(expected, abs=1e-9)


def test_a_tag_that_rests_is_no_gap() -> None:
    series = line_of([Came(0, 5)])
    assert on_grid(series, [0, 50, 100_000], rules()) == [5, 5, 5]
    assert on_grid(series, [0, 50, 100_000], rules("refuse")) == "window-gap"


def test_what_was_lost_is_a_gap_and_filled_for_as_long_as_is_allowed() -> None:
    came = [Came(0, 1), Came(20, 3, broken=True)]
    assert on_grid(line_of(came), [0, 10, 20], rules("hold")) == [1, 1, 3]
    assert on_grid(line_of(came), [0, 10, 20], rules("linear")) == [1, 2, 3]
    assert on_grid(line_of(came), [0, 10, 20], rules("hold", max_gap_ms=19)) == "window-gap"
    assert on_grid(line_of(came), [0, 20], rules("hold", max_gap_ms=19)) == [1, 3], "no instant lies in the gap"
    whole = [Came(0, 1), Came(20, 3)]
    assert on_grid(line_of(whole), [0, 10, 20], rules("hold", max_gap_ms=19)) == [1, 1, 3], "the control: nothing lost"


def test_a_gap_begins_with_the_bad_value_and_not_with_the_last_good_one() -> None:
    series = line_of([Came(0, 1), Came(100, None), Came(130, 4)])
    assert on_grid(series, [0, 90, 100, 110, 130], rules("linear", max_gap_ms=30)) == [1, 1, 1, 2, 4]
    assert on_grid(series, [0, 90, 100, 110, 130], rules("linear", max_gap_ms=29)) == "window-gap"


def test_a_line_is_drawn_only_over_the_last_period_before_a_change() -> None:
    series = line_of([Came(0, 0), Came(1000, 10)])
    assert on_grid(series, [0, 500, 990, 995, 1000], rules("linear")) == [0, 0, 0, 5, 10]


def test_the_value_at_the_very_instant_counts_and_of_two_the_later_to_come() -> None:
    series = line_of([Came(0, 1), Came(10, 2)])
    add(series, sample(7.0, 10))
    assert on_grid(series, [0, 9, 10], rules()) == [1, 1, 7]


def test_a_late_value_is_put_in_its_place() -> None:
    series = line_of([Came(0, 1), Came(20, 3)])
    assert not add(series, sample(2.0, 10))
    assert on_grid(series, [0, 10, 15, 20], rules()) == [1, 2, 2, 3]


def test_the_value_that_is_known_already_closes_a_gap() -> None:
    series = line_of([Came(0, 1)], doubted=True)
    assert on_grid(series, [0, 100], rules()) == "window-gap"
    add(series, sample(1.0, 0, ticks=100.5))
    assert on_grid(series, [0, 100], rules()) == [1, 1]


def test_an_overflow_breaks_the_line() -> None:
    series = line_of([Came(0, 1)])
    add(series, sample(2.0, 100, overflow=True))
    assert on_grid(series, [0, 50, 100], rules()) == "window-gap"


@pytest.mark.parametrize("value", [None, "text", float("nan"), float("inf"), 10**400, [1.0]])
def test_what_is_no_finite_number_is_bad(value: object) -> None:
    series = line_of([Came(0, 1)])
    add(series, sample(value, 10))
    assert on_grid(series, [0, 10], rules(bad="refuse")) == "window-quality"
    assert on_grid(series, [0, 10], rules()) == [1, 1]
    assert on_grid(series, [0, 10, 50], rules()) == "window-gap"


def test_a_boolean_is_one_or_zero() -> None:
    series = line_of([Came(0, 1)])
    add(series, sample(value=True, ms=10))
    add(series, sample(value=False, ms=20))
    assert on_grid(series, [10, 20], rules()) == [1, 0]


def test_the_server_timestamp_stands_in_and_a_value_without_any_cannot_be_placed() -> None:
    series = line_of([Came(0, 1)])
    add(series, sample(2.0, 10, source=None, server=START + timedelta(milliseconds=10)))
    assert on_grid(series, [0, 10], rules()) == [1, 2]
    add(series, sample(3.0, 20, source=None))
    assert on_grid(series, [0, 10], rules()) == [1, 2]
    assert on_grid(series, [0, 10, 50], rules()) == "window-gap"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_ends_what_came_before(hours: int) -> None:
    series = line_of([Came(0, 1), Came(10, 2)])
    moved = 3_600_000 * hours + 20
    assert add(series, sample(3.0, 20, source=START + timedelta(milliseconds=moved)))
    assert not add(series, sample(4.0, 30, source=START + timedelta(milliseconds=moved + 10)))
    assert on_grid(series, [moved, moved + 10], rules()) == [3, 4]
    assert on_grid(series, [moved - 10, moved], rules()) == "window-short"


def test_a_tag_that_rested_for_an_hour_is_not_taken_for_a_clock_that_was_set() -> None:
    series = line_of([Came(0, 1), Came(10, 2)])
    assert not add(series, sample(3.0, 3_600_000))
    assert on_grid(series, [10, 3_599_999, 3_600_000], rules()) == [2, 2, 3]


def test_it_is_bounded_and_keeps_the_newest() -> None:
    series = line_of([Came(ms, ms) for ms in range(1000)], keep=100)
    assert 100 <= len(series.times) < 200
    assert on_grid(series, list(range(900, 1000)), rules()) == list(range(900, 1000))
    assert on_grid(series, [0, 999], rules()) == "window-short"
