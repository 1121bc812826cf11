"""The margin before a deadline: what was measured lately, never less than the settings say, and soon small again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.station.margin import Margin

TIMES = {"least_s": 0.02, "deadline_s": 0.4}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_on_a_quiet_machine_it_is_that_of_the_settings() -> None:
    margin = Margin(Clock())
    margin.wrote(0.004)
    margin.lagged(0.001)
    assert margin.of(**TIMES) == 0.02


def test_it_covers_a_slow_write_or_a_late_loop_and_the_delay_of_notifications() -> None:
    margin = Margin(Clock())
    margin.wrote(0.08)
    margin.lagged(0.03)
    margin.notification_delay_s = 0.02
    assert margin.of(**TIMES) == pytest.approx(0.1)
    margin.lagged(0.12)
    assert margin.of(**TIMES) == pytest.approx(0.14)


def test_one_slow_write_among_fast_ones_counts() -> None:
    margin = Margin(Clock())
    margin.wrote(0.1)
    for _ in range(20):
        margin.wrote(0.004)
    assert margin.of(**TIMES) >= 0.1


def test_two_seconds_after_a_slow_time_it_is_that_of_the_settings_again() -> None:
    clock = Clock()
    margin = Margin(clock)
    margin.wrote(0.15)
    for _ in range(20):
        clock.now += 0.1
        margin.wrote(0.004)
    assert margin.of(**TIMES) == 0.02


def test_writes_that_are_always_slow_keep_it_however_seldom_they_are() -> None:
    clock = Clock()
    margin = Margin(clock)
    for _ in range(60):
        clock.now += 30
        margin.wrote(0.1)
    clock.now += 30
    assert margin.of(**TIMES) == pytest.approx(0.1, rel=0.01)


def test_a_margin_of_the_settings_above_half_of_the_deadline_stays() -> None:
    margin = Margin(Clock())
    margin.wrote(5.0)
    assert margin.of(least_s=0.3, deadline_s=0.4) == 0.3
    assert margin.longest(least_s=0.3, deadline_s=0.4) == 0.3


@given(st.lists(st.tuples(st.sampled_from(["wrote", "lagged"]), st.floats(0, 10), st.floats(0, 10))))
def test_it_is_never_below_the_settings_nor_above_the_longest(events: list[tuple[str, float, float]]) -> None:
    clock = Clock()
    margin = Margin(clock)
    for what, seconds, later in events:
        clock.now += later
        getattr(margin, what)(seconds)
        assert TIMES["least_s"] <= margin.of(**TIMES) <= margin.longest(**TIMES) == 0.2
