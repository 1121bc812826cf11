"""What source timestamps are good for, and which rise is which where they are good for nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.stamps import BACKWARDS, STILL, Stamps

HIGH, LOW = True, False
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(ms: float) -> datetime:
    return START + timedelta(milliseconds=ms)


def sample(value: object, stamp: float | None, *, came: float, **changes: Any) -> Sample:
    source = None if stamp is None else at(stamp)
    fields: dict[str, Any] = {"value": value, "quality": "good", "source": source, "server": None}
    return Sample(**(fields | {"received": at(10_000 + came), "ticks": came / 1000} | changes))


def notified(stamps: Stamps, *values: tuple[object, float | None]) -> list[datetime | None]:
    """Take values that came 10 ms after one another; return by which instants they are known."""
    return [stamps.take(sample(value, stamp, came=10 * place)).source for place, (value, stamp) in enumerate(values)]


def test_stamps_of_writes_are_what_rises_are_known_by() -> None:
    stamps = Stamps()
    assert notified(stamps, (LOW, 1.5), (HIGH, 2.5)) == [at(1.5), at(2.5)]
    assert stamps.identify_read(sample(HIGH, 2.5, came=30)).source == at(2.5)
    assert (stamps.are_usable, stamps.are_identity, stamps.are_proven) == (True, True, True)


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ([(LOW, 0), (HIGH, 0), (LOW, 0), (HIGH, 0)], STILL),
        ([(LOW, 5000), (HIGH, 5000), (LOW, 6000), (HIGH, 6000)], STILL),  # whole seconds
        ([(LOW, 300), (HIGH, 200), (LOW, 100), (HIGH, 50)], BACKWARDS),
    ],
    ids=["of the start", "of whole seconds", "backwards"],
)
def test_stamps_that_do_not_move_with_the_values_are_used_for_nothing_and_said_once(
    values: list[tuple[object, float]], wrong: str
) -> None:
    said: list[str | None] = []
    stamps = Stamps(said.append)
    known = notified(stamps, *values)
    assert said == [wrong]
    assert known[1:] == [at(10_010), at(10_020), at(10_030)]  # by when they came: no two rises are one
    assert not stamps.are_usable
    assert not stamps.are_identity


def test_an_equal_value_under_an_equal_stamp_says_nothing() -> None:
    stamps = Stamps()
    notified(stamps, (HIGH, 5), (HIGH, 5))
    assert stamps.are_usable


def test_a_gap_says_nothing_of_the_stamps() -> None:
    stamps = Stamps()
    notified(stamps, (LOW, 5))
    stamps.mark_gap()
    notified(stamps, (HIGH, 5))
    assert stamps.are_usable
    notified(stamps, (LOW, 4), (HIGH, 3))
    assert not stamps.are_usable


def test_a_clock_that_was_set_back_once_is_used_again_after_many_good_changes() -> None:
    said: list[str | None] = []
    stamps = Stamps(said.append)
    notified(stamps, (LOW, 9000), (HIGH, 100), *((bool(place % 2), 200 + place) for place in range(100)))
    assert said == [BACKWARDS, None]
    assert stamps.are_usable


def test_a_server_that_stamps_the_read_is_known_by_its_notifications_alone() -> None:
    """open62541: each read shows another stamp for the same rise."""
    stamps = Stamps()
    _low, risen = notified(stamps, (LOW, 1), (HIGH, 100))
    assert stamps.identify_read(sample(HIGH, 130, came=20)).source == risen
    assert stamps.identify_read(sample(HIGH, 160, came=50)).source == risen
    assert not stamps.are_identity
    (fell,) = [stamps.take(sample(LOW, 200, came=90)).source]
    assert fell == at(10_090)
    assert not stamps.are_identity
    assert not stamps.are_proven
    again = stamps.take(sample(HIGH, 300, came=190)).source
    assert again == at(10_190)
    assert stamps.identify_read(sample(HIGH, 310, came=200)).source == again


def test_a_read_ahead_of_the_notifications_is_no_disproof() -> None:
    """A server that stamps the write, read when the next rise is on its way."""
    stamps = Stamps()
    notified(stamps, (LOW, 1), (HIGH, 100))
    assert stamps.identify_read(sample(HIGH, 100, came=20)).source == at(100)
    ahead = stamps.identify_read(sample(HIGH, 300, came=40))
    assert ahead.source == at(300)
    assert stamps.is_on_its_way(ahead)
    notified(stamps, (LOW, 200), (HIGH, 300))
    assert stamps.are_proven
    assert not stamps.is_on_its_way(stamps.identify_read(sample(HIGH, 300, came=60)))


def test_a_read_of_what_was_not_notified_is_known_by_nothing() -> None:
    stamps = Stamps()
    notified(stamps, (LOW, 1), (HIGH, 100))
    stamps.identify_read(sample(HIGH, 130, came=20))
    stamps.take(sample(LOW, 200, came=30))
    ahead = stamps.identify_read(sample(HIGH, 230, came=40))
    assert ahead.source is None
    assert stamps.is_on_its_way(ahead)


def test_each_gap_begins_another_epoch() -> None:
    stamps = Stamps()
    notified(stamps, (HIGH, 1))
    before = stamps.epoch
    stamps.mark_gap()
    stamps.mark_gap()
    assert stamps.epoch == before + 1
    assert not stamps.is_on_its_way(sample(HIGH, 9, came=1))
    stamps.take(sample(HIGH, 10, came=2))
    stamps.take(sample(HIGH, 11, came=3, overflow=True))
    assert stamps.epoch == before + 2


def test_without_any_stamp_a_value_is_known_by_when_it_came() -> None:
    stamps = Stamps()
    assert notified(stamps, (LOW, None), (HIGH, None)) == [at(10_000), at(10_010)]
    assert stamps.identify_read(sample(HIGH, None, came=50)).source == at(10_010)
