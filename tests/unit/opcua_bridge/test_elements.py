"""One element of an array as a tag of its own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asyncua import ua

from lineside_opcua_bridge.link.session import _write_value
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.station.elements import Elements
from lineside_opcua_bridge.station.stamps import Stamps
from lineside_opcua_bridge.values import element_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: Any, second: float = 0.0, **changes: Any) -> Sample:
    return Sample(value, "good", START + timedelta(seconds=second), None, START, second)._replace(**changes)


def test_an_element_has_what_the_array_has_but_its_value() -> None:
    array = sample([1, 2, 3], overflow=True, quality="uncertain")
    assert element_of(array, 2) == array._replace(value=3)


@pytest.mark.parametrize("value", [[1, 2], [], None, 3, "abcd", b"abcd", [[1], [2], [3]]])
def test_what_has_no_such_element_is_of_bad_quality(value: Any) -> None:
    assert element_of(sample(value), 2)[:2] == (None, "bad")


def test_only_changes_of_the_element_itself_are_handed_on() -> None:
    line = Elements({"trigger": 1}, acted_on={"trigger", "done"})
    given = [[0, False], [1, False], [2, True], [3, True], [4], [5], [6, True], [7, False]]
    taken = [line.take("trigger", sample(array, second)) for second, array in enumerate(given)]
    assert [each and (each.ticks, each.quality) for each in taken] == [
        (0, "good"),
        None,
        (2, "good"),
        None,
        (4, "bad"),
        None,
        (6, "good"),
        (7, "good"),
    ]


def test_after_a_gap_and_with_an_overflow_every_value_is_handed_on() -> None:
    line = Elements({"done": 0}, acted_on={"trigger", "done"})
    assert line.take("done", sample([True]))
    line.mark_gap()
    assert line.take("done", sample([True]))
    assert line.take("done", sample([True], overflow=True))
    assert line.take("done", sample([True])) is None


def test_of_what_is_only_sampled_each_value_is_told_and_an_array_of_one_is_its_element() -> None:
    line = Elements({"sample.speed": 1}, acted_on={"trigger"})
    assert [line.take("sample.speed", sample([each, 5], each)) for each in (1, 2)] == [sample(5, 1), sample(5, 2)]
    assert "trigger" not in line
    assert line.take("trigger", sample([True])) == line.take("trigger", sample(value=True)) == sample(value=True)


def test_the_stamp_of_an_array_tells_no_two_values_of_an_element_apart() -> None:
    stamps = Stamps(of_element=True)
    told = stamps.take(sample(value=True, second=1))
    shown = stamps.identify_read(sample(value=True, second=1))
    assert not stamps.are_identity
    assert not stamps.are_proven
    assert stamps.identify_read(sample(value=True, second=2)).source == shown.source == told.source


def test_an_element_is_written_as_an_array_of_one_with_its_range_and_a_scalar_without() -> None:
    node, content = ua.NodeId(ua.Int32(1), ua.Int16(1)), ua.Variant(7, ua.VariantType.Int16)
    element, scalar = _write_value(node, content, 3), _write_value(node, content, None)
    assert (element.IndexRange, element.Value.Value) == ("3", ua.Variant([7], ua.VariantType.Int16))
    assert (scalar.IndexRange, scalar.Value.Value) == (None, content)
