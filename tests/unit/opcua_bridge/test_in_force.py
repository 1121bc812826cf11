"""Whose value it is that a trigger takes with it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.history import History
from lineside_opcua_bridge.station.in_force import Provenance, TriggerMoment, choose, choose_again

START = datetime(2026, 1, 1, tzinfo=UTC)
CAME = 100.0
"""When the trigger came, in milliseconds of our clock."""


def at(ms: float | None) -> datetime | None:
    return None if ms is None else START + timedelta(milliseconds=ms)


def sample(value: object, stamp: float | None, *, came: float = CAME) -> Sample:
    return Sample(value, "good", at(stamp), None, START, came / 1000)


def history(*values: tuple[object, float | None, float]) -> History:
    made = History(8)
    for value, stamp, came in values:
        made.add(sample(value, stamp, came=came))
    return made


def moment(*, shown: bool = True, stamped: bool = True, stamp: float | None = 50.5, **changes: Any) -> TriggerMoment:
    return TriggerMoment(sample(value=True, stamp=stamp), shown, stamped, **changes)


def test_while_the_trigger_stands_the_read_is_this_parts_whatever_the_stamps_say() -> None:
    """open62541 stamps the read; a gateway stamps its poll, which comes later for the id than for the trigger."""
    old = history(("P-1", 10.5, 10))
    assert choose(sample("P-2", 90.5), old, moment(stamped=False), is_of_part=True)[0] == sample("P-2", 90.5)
    polled = history(("P-1", 10.5, 10), ("P-2", 60.5, 100))
    assert choose(sample("P-2", 60.5), polled, moment(), is_of_part=True)[0] == sample("P-2", 60.5)


def test_what_did_not_change_around_the_trigger_is_this_parts() -> None:
    chosen = choose(
        sample("P-2", 130.5),
        history(("P-2", 20.5, 20)),
        moment(shown=False, stamped=False),
        is_of_part=True,
    )
    assert chosen == (sample("P-2", 130.5), Provenance.READ)


def test_after_a_pulse_what_the_stamps_of_writes_show_is_this_parts_at_once() -> None:
    came_together = history(("P-1", 10.5, 10), ("P-2", 50.25, CAME))
    assert choose(sample("P-2", 50.25), came_together, moment(shown=False), is_of_part=True)[1] is Provenance.READ


@pytest.mark.parametrize("changes", [{"stamped": False}, {"stamp": None}])
def test_after_a_pulse_that_nothing_places_there_is_a_second_read(changes: Any) -> None:
    now = moment(shown=False, **changes)
    old, first = history(("P-1", 10.5, 10)), sample("P-2", 90.5)
    assert choose(first, old, now, is_of_part=True) == (None, Provenance.SETTLE)
    assert choose_again(first, sample("P-2", 140.5), old, now, is_superseded=False) == (
        sample("P-2", 140.5),
        Provenance.READ,
    )
    for second, is_superseded in [(sample("P-2", 140.5), True), (sample("P-3", 140.5), False), (None, False)]:
        assert choose_again(first, second, old, now, is_superseded=is_superseded) == (None, Provenance.UNKNOWN)


def test_where_the_plc_moved_on_stamps_of_writes_decide_once_the_line_has_come_as_far_as_the_read() -> None:
    now, read = moment(shown=False), sample("P-3", 70.5)
    lagging = history(("P-1", 10.5, 10))
    assert choose_again(read, read, lagging, now, is_superseded=True) == (None, Provenance.UNKNOWN)
    whole = history(("P-1", 10.5, 10), ("P-2", 50.25, CAME), ("P-3", 70.5, 120))
    assert choose_again(read, read, whole, now, is_superseded=True)[0] == sample("P-2", 50.25)


def test_stamps_of_whole_seconds_place_nothing_within_one() -> None:
    now = moment(shown=False, stamp=1000)
    whole = history(("P-1", 0, 10), ("P-2", 1000, CAME))
    assert choose(sample("P-2", 1000), whole, now, is_of_part=True) == (None, Provenance.SETTLE)


def test_what_a_collector_sends_is_not_waited_for() -> None:
    now = moment(shown=False, stamped=False, is_watched=False)
    assert choose(sample("P-2", 90.5), history(("P-1", 10.5, 10)), now, is_of_part=True) == (None, Provenance.UNKNOWN)


def test_a_speed_is_that_of_the_instant_where_stamps_of_writes_tell_it() -> None:
    known = history((1.0, 10.5, 10), (2.0, 60.5, CAME))
    assert choose(sample(2.0, 60.5), known, moment(), is_of_part=False) == (
        sample(1.0, 10.5, came=10),
        Provenance.IN_FORCE,
    )
    assert choose(sample(2.0, 90.5), known, moment(stamped=False), is_of_part=False) == (
        sample(2.0, 90.5),
        Provenance.READ,
    )
    late = history((2.0, 60.5, CAME))
    assert choose(sample(2.0, 60.5), late, moment(), is_of_part=False) == (sample(2.0, 60.5), Provenance.AFTER)
