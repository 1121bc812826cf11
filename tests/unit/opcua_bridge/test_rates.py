"""Intervals, queues and calls follow from how often a tag is sampled."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_opcua_bridge.link.rates import Granted, batches, fits, is_short, is_slow, publishing_for, queue_for

SAMPLING = st.floats(0, 3_600_000)
FASTEST = st.floats(0, 10_000)


@pytest.mark.parametrize(
    ("sampling", "fastest", "interval"),
    [(0, 20, 20), (20, 20, 20), (100, 20, 80), (1, 20, 20), (60_000, 20, 640), (0, 0, 0), (15, 0, 0), (100, 0, 80)],
)
def test_slow_tags_are_published_at_a_slower_pace(sampling: float, fastest: float, interval: float) -> None:
    assert publishing_for(sampling, fastest) == interval


@given(SAMPLING, FASTEST)
def test_no_value_waits_longer_than_its_own_period_or_what_triggers_wait(sampling: float, fastest: float) -> None:
    interval = publishing_for(sampling, fastest)
    assert fastest <= interval <= max(fastest, sampling)
    assert interval <= max(fastest, 1000)


@given(st.lists(SAMPLING, max_size=256), st.floats(5, 10_000))
def test_however_many_rates_there_are_few_subscriptions_do(rates: list[float], fastest: float) -> None:
    assert len({publishing_for(each, fastest) for each in rates}) <= 9


@pytest.mark.parametrize(
    ("sampling", "publishing", "queue"), [(100, 80, 21), (0, 20, 20), (1, 20, 1000), (60_000, 640, 2), (100, 1000, 41)]
)
def test_a_queue_bridges_four_intervals_and_two_seconds(sampling: float, publishing: float, queue: int) -> None:
    assert queue_for(sampling, publishing) == queue


@given(SAMPLING, FASTEST)
def test_a_queue_is_never_so_short_that_a_loss_goes_unmarked_nor_without_bound(sampling: float, fastest: float) -> None:
    assert 2 <= queue_for(sampling, fastest) <= 1000


def test_what_the_server_granted_is_judged() -> None:
    assert not is_short(Granted(100, 20), 80)
    assert is_short(Granted(10, 5), 80)
    assert fits(Granted(10, 5)) == 40
    assert not is_short(Granted(10, 5), 40)
    assert is_short(Granted(0, 1), 80), "a queue of one drops without a mark"
    assert fits(Granted(0, 20)) == math.inf
    assert is_slow(10, Granted(50, 20))
    assert not is_slow(0, Granted(50, 20))
    assert not is_slow(100, Granted(80, 20))


def test_calls_are_of_the_size_that_the_server_takes() -> None:
    assert [list(batch) for batch in batches([1, 2, 3, 4, 5], 2)] == [[1, 2], [3, 4], [5]]
    assert [len(batch) for batch in batches(range(2500), 0)] == [1000, 1000, 500]
    assert list(batches([], 3)) == []
