"""From OPC UA's values to ours: what cannot be used is absent, and said to be."""

from datetime import UTC, datetime
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.status_codes import StatusCodes

from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.values import Tags, boolean, instant, sample_of, tags_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def value(content: Any, status: int = StatusCodes.Good, **fields: Any) -> ua.DataValue:
    return ua.DataValue(ua.Variant(content), StatusCode=ua.StatusCode(status), **fields)


def sample(content: Any, status: int = StatusCodes.Good) -> Sample:
    return sample_of(value(content, status), received=NOW, ticks=1.0)


def test_the_timestamps_stay_what_they_are() -> None:
    moment = datetime(2025, 5, 5, tzinfo=UTC)
    sample = sample_of(value(True, SourceTimestamp=moment), received=NOW, ticks=1.0)  # noqa: FBT003 - the value under test
    assert (sample.value, sample.quality) == (True, "good")
    assert (sample.source, sample.server, sample.received) == (moment, None, NOW)


def test_the_quality_and_the_overflow_bit_are_seen() -> None:
    assert sample_of(value(None, StatusCodes.BadSensorFailure), received=NOW, ticks=0).quality == "bad"
    assert sample_of(value(1, StatusCodes.UncertainLastUsableValue), received=NOW, ticks=0).quality == "uncertain"
    assert sample_of(value(1, 0x480), received=NOW, ticks=0).overflow
    assert not sample_of(value(1, 0x400), received=NOW, ticks=0).overflow


def test_an_unset_time_is_absent() -> None:
    assert instant(None) is None
    assert instant(datetime(1601, 1, 1, tzinfo=UTC)) is None
    assert instant(datetime(2026, 1, 1)) == NOW  # noqa: DTZ001 - some servers' times come without a zone


@pytest.mark.parametrize(
    ("content", "expected"), [(True, True), (False, False), (1, None), (None, None), ("true", None)]
)
def test_only_a_boolean_is_one(content: Any, expected: bool | None) -> None:
    assert boolean(sample(content)) is expected


def test_a_boolean_of_bad_quality_is_none() -> None:
    assert boolean(sample(True, StatusCodes.BadNotConnected)) is None  # noqa: FBT003 - the value under test


def test_tags_of_every_kind() -> None:
    tags = tags_of(
        {
            "part_id": sample(4711),
            "speed": sample(1200.5),
            "name": sample("spindle"),
            "on": sample(content=False),
            "at": sample(NOW),
            "list": sample([1, 2]),
            "blob": sample(b"x"),
            "nan": sample(float("nan")),
            "long": sample("x" * 129),
            "latin-1": sample("M\udcfcller"),
            "bad": sample(1, StatusCodes.BadOutOfService),
        }
    )
    assert tags.part_id == "4711"
    assert tags.tags == {"speed": 1200.5, "name": "spindle", "on": False, "at": "2026-01-01T00:00:00+00:00"}
    assert tags.left_out == dict.fromkeys(("list", "blob", "nan"), "type") | {
        "long": "length",
        "latin-1": "encoding",
        "bad": "quality",
    }


def test_an_empty_part_id_is_absent() -> None:
    assert tags_of({"part_id": sample("")}) == Tags(left_out={"part_id": "empty"})
