"""When a condition on another tag holds."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from lineside_opcua_bridge.detect import unmet
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings.triggers import Condition

NODE = "nsu=urn:plant;s=Mode"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sample(value: object, quality: Any = "good") -> Sample:
    return Sample(value, quality, NOW, NOW, NOW, 1.0)


@pytest.mark.parametrize(
    ("condition", "value", "holds"),
    [
        ({"equals": 3}, 3, True),
        ({"equals": 3}, 3.0, True),
        ({"equals": 3}, 4, False),
        ({"equals": 3}, "3", False),
        ({"equals": "AUTO"}, "AUTO", True),
        ({"equals": "AUTO"}, "auto", False),
        ({"equals": True}, True, True),
        ({"equals": True}, 1, False),
        ({"equals": 1}, True, True),
        ({"equals": 0}, False, True),
        ({"equals": 2}, True, False),
        ({"equals": "true"}, True, False),
        ({"not_equals": 3}, 4, True),
        ({"not_equals": 3}, 3.0, False),
        ({"not_equals": "HAND"}, "AUTO", True),
        ({"not_equals": "HAND"}, 7, False),
        ({"not_equals": False}, True, True),
        ({"not_equals": 0}, True, True),
        ({"not_equals": 0}, False, False),
        ({"above": 5}, 5.1, True),
        ({"above": 5}, 5, False),
        ({"below": 5}, 4, True),
        ({"above": 0}, True, False),
        ({"above": 0}, math.nan, False),
        ({"below": 0}, math.nan, False),
        ({"above": 1, "below": 3}, 2, True),
        ({"above": 1, "below": 3}, 3, False),
        ({"not_equals": 2, "above": 1}, 2, False),
        ({"above": 0}, None, False),
    ],
)
def test_a_condition(condition: dict[str, Any], value: object, holds: bool) -> None:
    made = Condition.model_validate({"node": NODE} | condition)
    assert (unmet([made], lambda _: sample(value)) is None) == holds


def test_all_must_hold_and_the_first_that_does_not_is_named_with_its_value() -> None:
    conditions = [
        Condition.model_validate({"node": NODE, "equals": "AUTO"}),
        Condition.model_validate({"node": "nsu=urn:plant;s=Speed", "above": 100}),
    ]
    latest = [sample("AUTO"), sample(99)]
    assert unmet(conditions, latest.__getitem__) == "only_if.1: nsu=urn:plant;s=Speed is 99, must be greater than 100"
    latest[1] = sample(101)
    assert unmet(conditions, latest.__getitem__) is None
    assert unmet([], latest.__getitem__) is None


def test_a_tag_without_a_usable_value_fulfils_nothing() -> None:
    condition = Condition.model_validate({"node": NODE, "not_equals": 3})
    assert unmet([condition], lambda _: None) == f"only_if.0: {NODE} has no value yet"
    assert unmet([condition], lambda _: sample(4, "bad")) == f"only_if.0: {NODE} is of bad quality"
    assert unmet([condition], lambda _: sample(4, "uncertain")) is None


@pytest.mark.parametrize("never", [{"above": 3, "below": 3}, {"equals": 1, "not_equals": 1}, {}])
def test_a_condition_that_nothing_fulfils_is_refused(never: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate({"node": NODE} | never)
