"""Windows of tags: order, units, scaling, which are complete, and what a message of one costs."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lineside.contract import Request, Tensor, TensorsSource, parse_request, to_json
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings import Settings
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.windows import MAX_DUE, Unusable, Window
from lineside_opcua_bridge.windows.window import shortened

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(ms: float) -> datetime:
    return START + timedelta(milliseconds=ms)


def sample(value: object, ms: float, **changes: Any) -> Sample:
    fields: dict[str, Any] = {"value": value, "quality": "good", "source": at(ms), "server": None, "received": at(ms)}
    return Sample(**(fields | {"ticks": 100 + ms / 1000} | changes))


def settings(**changes: Any) -> WindowSourceSettings:
    given_fields = {
        "kind": "window",
        "input": "window",
        "tags": {"speed": "nsu=u;s=speed", "load": "nsu=u;s=load"},
        "rate_hz": 10,
        "samples": 4,
    }
    return WindowSourceSettings.model_validate(given_fields | changes)


def filled(window: Window, *, until_ms: int = 1000, first: int = 0) -> Window:
    for ms in range(first, until_ms + 1, 100):
        window.add("speed", sample(ms, ms))
        window.add("load", sample(-ms, ms))
    return window


def rows(found: Tensor | Unusable) -> list[list[float]]:
    assert isinstance(found, Tensor), found
    return np.array(found.values, float).reshape(found.shape).tolist()


def test_a_window_ends_at_the_trigger_and_its_columns_stand_side_by_side() -> None:
    found = filled(Window(settings(), stride=None)).take(at(950))
    assert isinstance(found, Tensor)
    assert (found.name, found.datatype, found.shape) == ("window", "FP32", (4, 2))
    assert (found.columns, found.units) == (("speed", "load"), None)
    assert rows(found) == [[600, -600], [700, -700], [800, -800], [900, -900]]


def test_units_and_scaling() -> None:
    tags = {
        "speed": {"node": "nsu=u;s=speed", "unit": "m/s", "scale": 0.001, "offset": -1},
        "load": "nsu=u;s=load",
    }
    found = filled(Window(settings(tags=tags), stride=None)).take(at(1000))
    assert isinstance(found, Tensor)
    assert found.units == ("m/s", None)
    assert rows(found)[-1] == [0, -1000]
    assert rows(found)[0] == [-0.3, -700]


def test_a_rate_that_is_no_whole_number_of_milliseconds_meets_its_samples() -> None:
    window = Window(settings(rate_hz=3, samples=30, tags={"a": "nsu=u;s=a"}), stride=None)
    for number in range(40):
        window.add("a", sample(number, 0, source=START + timedelta(microseconds=round(number * 1e6 / 3))))
    found = window.take(START + timedelta(microseconds=round(39 * 1e6 / 3)))
    assert rows(found) == [[number] for number in range(10, 40)]


def test_without_an_end_it_ends_with_the_newest_value_and_goes_on_while_all_tags_rest() -> None:
    window = Window(settings(), stride=None)
    assert window.take(None) == Unusable("no value has come yet", "window-short")
    filled(window)
    assert rows(window.take(None))[-1] == [1000, -1000]
    assert rows(window.take(None, ticks=101.2)) == rows(window.take(None))
    assert rows(window.take(None, ticks=200)) == [[1000, -1000]] * 4


@pytest.mark.parametrize(
    ("changes", "end", "code", "says"),
    [
        ({}, 200, "window-short", "speed: there is no value at or before 2025-12-31T23:59:59.900Z"),
        ({}, 5000, "window-gap", "load: nothing is known from 2026-01-01T00:00:01.000Z on for 4000 ms; at most 300 ms"),
        ({"bad": "refuse"}, 1450, "window-quality", "speed: a value of bad quality came at 2026-01-01T00:00:01.450Z"),
        ({"tags": {"speed": "nsu=u;s=a", "load": {"node": "nsu=u;s=b", "scale": 1e37}}}, 900, "window-quality", "FP32"),
    ],
)
def test_why_there_is_none(changes: dict[str, Any], end: int, code: str, says: str) -> None:
    window = filled(Window(settings(**changes), stride=None))
    window.mark_gap("load")
    window.add("speed", sample(None, 1450, quality="bad"))
    window.add("speed", sample(1, 1460))
    found = window.take(at(end))
    assert isinstance(found, Unusable)
    assert found.code == code
    assert says in found.reason


def test_doubt_of_all_is_doubt_of_each() -> None:
    window = filled(Window(settings(), stride=None))
    assert isinstance(window.take(at(2000)), Tensor)
    window.mark_gap(None)
    assert isinstance(window.take(at(2000)), Unusable)
    assert isinstance(window.take(at(1000)), Tensor), "up to the last value all is known"


def test_it_covers_what_has_come_for_every_tag_or_long_ago_for_some() -> None:
    window = Window(settings(), stride=None)
    assert not window.covers(at(0))
    window.add("load", sample(0, 0))
    assert not window.covers(at(0)), "a column without any value"
    filled(window)
    assert window.covers(at(1000))
    assert not window.covers(at(1001))
    window.add("speed", sample(1, 1200))
    assert not window.covers(at(1200)), "the other tag may still be on its way"
    window.add("speed", sample(2, 1500))
    assert window.covers(at(1200)), "three periods later it is taken to rest"


@pytest.mark.parametrize(("stride", "expected"), [(4, [400, 800]), (1, [400, 500, 600, 700, 800, 900, 1000])])
def test_windows_become_due_one_stride_apart(stride: int, expected: list[int]) -> None:
    window = Window(settings(), stride=stride)
    due: list[datetime] = []
    for ms in range(0, 1001, 100):
        filled(window, first=ms, until_ms=ms)
        due += window.due()
    assert due == [at(ms) for ms in expected]
    assert window.due() == []
    assert window.skipped == 0
    assert all(isinstance(window.take(end), Tensor) for end in due)


def test_a_window_trigger_waits_for_the_slower_tag() -> None:
    window = filled(Window(settings(), stride=4), until_ms=300)
    window.add("speed", sample(1, 400))
    assert window.due() == []
    window.add("load", sample(1, 400))
    assert window.due() == [at(400)]


def test_while_all_tags_rest_windows_become_due_by_our_clock() -> None:
    window = filled(Window(settings(), stride=4), until_ms=400)
    assert window.due() == [at(400)]
    assert window.due(ticks=101.0) == [], "a value may still be on its way"
    assert window.due(ticks=101.2) == [at(800)]
    assert rows(window.take(at(800)))[-1] == [400, -400]


def test_of_too_many_windows_the_newest_are_named_and_the_others_counted() -> None:
    window = filled(Window(settings(), stride=1), until_ms=400)
    window.due()
    window.mark_gap(None)
    filled(window, first=100_000, until_ms=100_000)
    due = window.due()
    assert len(due) == MAX_DUE
    assert due[-1] == at(100_000)
    assert window.skipped == 996 - MAX_DUE
    assert isinstance(window.take(due[0]), Unusable)


def test_an_old_value_at_the_start_makes_no_window() -> None:
    window = Window(settings(), stride=4)
    window.add("speed", sample(1, -3_600_000, ticks=100))
    window.add("load", sample(2, -1_800_000, ticks=100))
    assert window.due(ticks=100.1) == []
    window.add("load", sample(3, 100))
    assert window.due(ticks=100.1) == []
    assert window.due(ticks=101.0) == [at(400)]
    assert rows(window.take(at(400))) == [[1, 3]] * 4


def test_a_first_value_of_long_ago_says_nothing_of_the_clock() -> None:
    window = Window(settings(), stride=None)
    for ms in range(0, 1001, 100):
        window.add("speed", sample(ms, ms))
    window.add("load", sample(5, -3_600_000, ticks=101.5))
    assert rows(window.take(at(1000))) == [[ms, 5] for ms in (700, 800, 900, 1000)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_set_costs_the_windows_across_it_and_no_more(hours: int) -> None:
    tags = {"speed": "nsu=u;s=speed", "load": "nsu=u;s=load", "rests": "nsu=u;s=rests"}
    window = Window(settings(tags=tags), stride=4)
    window.add("rests", sample(6, 0))
    window.add("rests", sample(7, 50))
    filled(window)
    window.due()
    moved = timedelta(hours=hours)
    # One column's values of a notification before the other's, the step in the middle of each.
    for column, sign in (("speed", 1), ("load", -1)):
        for ms in range(1100, 2301, 100):
            window.add(
                column, sample(sign * ms, ms, source=at(ms) + (moved if ms > 1500 else timedelta()), ticks=102.4)
            )
    across = window.take(at(1700) + moved)
    assert isinstance(across, Unusable)
    assert across.code == "window-short"
    assert rows(window.take(at(2000) + moved)) == [[ms, -ms, 7] for ms in range(1700, 2001, 100)]
    due = window.due(ticks=102.4)
    assert due
    assert all(at(1500) < end - moved <= at(2300) for end in due)


@hypothesis_settings(deadline=None)
@given(
    st.lists(st.floats(-1e15, 1e15) | st.floats(allow_nan=False, allow_infinity=False), max_size=20),
    st.sampled_from([7, 15]),
)
def test_shortened_numbers_are_those_that_printing_gives(values: list[float], digits: int) -> None:
    for value, short in zip(values, shortened(np.array(values), digits), strict=True):
        printed = float(f"{value:.{digits}g}")
        # Where the first digit left out is a 5 the two may round to either side of it.
        assert short == printed or math.isclose(short, value, rel_tol=0.51 * 10.0 ** (1 - digits))
        assert len(repr(short)) <= digits + 17


def test_a_whole_number_has_no_fraction() -> None:
    assert repr(shortened(np.array([1.0, -0.0, 0.1, 1 / 3, 2e20]), 7)) == "[1, 0, 0.1, 0.3333333, 2e+20]"


def test_a_window_comes_through_json_unharmed() -> None:
    rng = np.random.default_rng(1)
    window = Window(settings(samples=64, tags={"a": "nsu=u;s=a"}), stride=None)
    values = rng.normal(0, 1000, 64).astype(np.float32)
    for place, value in enumerate(values):
        window.add("a", sample(float(value), place * 100))
    tensor = window.take(at(6300))
    assert isinstance(tensor, Tensor)
    message = to_json(Request.new(model="m", source=TensorsSource(tensors=(tensor,))))
    assert len(message) < 64 * 10 + 700
    read = parse_request(message).source
    assert isinstance(read, TensorsSource)
    assert read.tensors == (tensor,)
    assert np.allclose(np.array(read.tensors[0].values, np.float32), values, rtol=5.1e-7, atol=0)


def test_a_window_that_can_never_fit_the_bus_is_refused_with_its_figures() -> None:
    trigger = {
        "name": "spindle",
        "station": "s",
        "model": "m",
        "when": {"kind": "period", "every_ms": 1000},
        "source": settings(samples=1000).model_dump(),
    }
    with pytest.raises(ValidationError, match=r"'spindle': 1000 samples of 2 tags are 2000 values .* 6144: give fewer"):
        Settings.model_validate({"opcua_bridge": {"triggers": [trigger]}})
    Settings.model_validate({"opcua_bridge": {"triggers": [trigger]}, "bus": {"max_message_bytes": 60_000}})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tags": {"a": "nsu=u;s=x", "b": "nsu=u;s=x"}}, "given for more than one column"),
        ({"tags": {"a": {"node": "nsu=u;s=x", "scale": 0}}}, "scale is 0"),
        ({"rate_hz": 0}, "greater than 0"),
        ({"max_gap_ms": 0}, "greater than 0"),
        ({"tags": {}}, "at least 1 item"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**changes)
