"""What a shadow's documents wish, and what is reported in them."""

import json
import random

import pytest

from lineside_topic_bridge.steering.shadow.documents import (
    MAX_BYTES,
    Shadow,
    ShadowUnreadable,
    compact,
    difference,
    fitted,
    has_room_in,
    has_room_in_answer,
    read_shadow,
    report,
    updated,
    wish_of,
)
from lineside_topic_bridge.steering.wishes import Wish

FACTS = {
    "applied_at": "2026-11-29T12:00:00+00:00",
    "components": {"topic_bridge": "0.1.0"},
    "settings_hash": {"topic_bridge": "ab"},
    "health": {"ready": True, "down": [], "at": 1_800_000_000},
}


def errors_of(desired: dict) -> tuple[str, ...]:
    wish = wish_of(Shadow(desired, None, 1))
    assert wish.document is None
    return wish.errors


def test_a_shadow_is_read_with_its_version() -> None:
    payload = b'{"state":{"desired":{"enabled":false},"delta":{"enabled":false}},"metadata":{},"version":7}'
    assert read_shadow(payload) == Shadow({"enabled": False}, None, 7)
    assert read_shadow(b'{"state":{"desired":{},"reported":{}},"version":1}') == Shadow(None, None, 1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"version":1}',
        b'{"state":{}}',
        b'{"state":{},"version":true}',
        b'{"state":{},"version":"1"}',
        b'{"state":{"desired":[]},"version":1}',
        b'{"state":{"desired":1},"version":1}',
        b'{"state":{"reported":"x"},"version":1}',
        b'{"state":{"desired":{"enabled":true,"enabled":false}},"version":1}',
        b'{"state":{"desired":{"thresholds":{"pit":NaN}}},"version":1}',
    ],
)
def test_what_is_no_shadow_is_said(payload: bytes) -> None:
    with pytest.raises(ShadowUnreadable):
        read_shadow(payload)


def test_a_part_of_a_policy_is_wished_and_no_more() -> None:
    desired = {"thresholds": {"default": 0.75, "scratch": 1}, "models": {"m": "2"}, "capture": {"always": ["fail"]}}
    assert wish_of(Shadow(desired, None, 1)) == Wish("shadow", desired)


def test_a_shadow_without_desired_wishes_nothing() -> None:
    assert wish_of(Shadow(None, {"enabled": True}, 3)) == Wish("shadow")


def test_everything_that_is_wrong_is_said_with_its_place_and_value() -> None:
    found = errors_of(
        {
            "enbled": True,
            "enabled": "false",
            "thresholds": {"pit": "0.5", "rust": -1, "dent": None},
            "models": {"m": 2, "n": "zwei"},
            "capture": {"rat": 0.1, "rate": 2, "always": "fail"},
        }
    )
    for start in (
        "policy.enbled: not a part of a policy. Known: enabled, thresholds, models, capture",
        "policy.enabled: expected true or false (got 'false')",
        "policy.thresholds.pit: expected a number (got '0.5')",
        "policy.thresholds.rust: must be greater than or equal to 0",
        "policy.thresholds.dent: expected a number",
        "policy.models.m: expected text; put it in quotes (got 2)",
        "policy.models.n: expected a version",
        "policy.capture.rat: not a part of a policy. Known: rate",
        "policy.capture.rate: must be less than or equal to 1",
        "policy.capture.always: expected a list",
    ):
        assert any(error.startswith(start) for error in found), (start, found)
    assert len(found) == 10


def test_a_wish_of_9_kilobytes_is_refused_by_its_size() -> None:
    [error] = errors_of({"thresholds": {f"label-{number:04}": 0.5 for number in range(600)}})
    assert "bytes, allowed are 8192" in error


def test_beside_a_wrong_wish_stands_what_was_reported() -> None:
    reported = {"enabled": False, "thresholds": {"pit": 0.4}, "models": {"m": "2"}, "errors": [], "applied_at": "x"}
    wrong = {"enabled": "no"}
    assert wish_of(Shadow(wrong, reported, 1)).stands == {
        "enabled": False,
        "thresholds": {"pit": 0.4},
        "models": {"m": "2"},
    }
    for unusable in (None, {"errors": []}, {**reported, "omitted": ["capture"]}, {**reported, "thresholds": 7}):
        assert wish_of(Shadow(wrong, unusable, 1)).stands is None


def test_a_report_says_what_is_in_force_and_which_versions_serve() -> None:
    policy = {"enabled": True, "thresholds": {"pit": 0.4, "rust": 1.0}, "models": {"m": "2"}, "capture": {"rate": 0.0}}
    desired = {"thresholds": {"rust": 1}, "models": {"m": "2"}, "capture": {"rate": 0}}
    said = report(policy, errors=("a",), versions={"m": "1", "n": "3"}, facts=FACTS, desired=desired)
    assert json.dumps(said) == json.dumps(
        {
            "enabled": True,
            "thresholds": {"pit": 0.4, "rust": 1},
            "models": {"m": "1", "n": "3"},
            "capture": {"rate": 0},
            "errors": ["a"],
            **FACTS,
        }
    )


def test_true_is_not_reported_as_1() -> None:
    said = report({"enabled": True}, errors=(), versions={}, facts={}, desired={"enabled": 1})
    assert said["enabled"] is True


def test_a_report_stays_below_the_shadows_bound_and_says_what_it_left_out() -> None:
    thresholds = {f"label-{number:04}": 0.5 for number in range(300)}
    errors = tuple("x" * 500 for _ in range(50))
    whole = report(
        {"enabled": False, "thresholds": thresholds, "capture": {"labels": ["y" * 200] * 10}},
        errors=errors,
        versions={f"model-{number}": "1" for number in range(20)},
        facts=FACTS,
        desired=None,
    )
    for bound in (MAX_BYTES, 6144, 4000, 1200, 600):
        desired = {"thresholds": {"pit": 0.5}}
        said = fitted(whole, has_room_in(desired, bound))
        assert len(compact({"desired": desired, "reported": said})) <= bound
        assert said["enabled"] is False
        assert said["errors"]
        assert ("settings_hash" in said) != ("settings_hash" in said.get("omitted", ()))
        assert said["health"]["ready"] is True
        assert all(name in said or name in said["omitted"] for name in whole)
    assert fitted(whole, has_room_in(None, 100_000)) == whole


def test_where_nothing_has_room_the_least_is_said() -> None:
    said = fitted(report({"enabled": True}, errors=("x" * 300,), versions={}, facts={}, desired=None), lambda _: False)
    assert said["errors"] == ["x" * 80]


def test_an_answer_of_the_reserved_topics_has_room_in_one_message() -> None:
    """Its metadata, a time for each value, is several times as long as a short value."""
    desired = {"thresholds": {"pit": 0.5}}
    whole = {"enabled": True, "thresholds": {f"l{number}": 0.5 for number in range(150)}, "errors": [], "models": {}}
    assert has_room_in(desired, 6144)(whole)
    said = fitted(whole, has_room_in_answer(desired, 6144))
    assert said["omitted"] == ["thresholds"] or "thresholds" in said["omitted"]
    few = {"enabled": True, "thresholds": {f"l{number}": 0.5 for number in range(50)}, "errors": ["a"]}
    assert fitted(few, has_room_in_answer(desired, 6144)) == few


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, {"enabled": True}, {"enabled": True}),
        ({"enabled": True}, {"enabled": True}, {}),
        ({"enabled": 1}, {"enabled": True}, {"enabled": True}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, {"a": {"y": None}}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": None}),
        ({"a": {"x": 1}}, {}, {"a": None}),
        ({}, {"a": {}}, {}),
        ({"a": {}}, {}, {}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": 1}, {"a": 1}),
        ({"a": ["x"]}, {"a": []}, {"a": []}),
        ({"a": ["x"]}, {"a": ["x"]}, {}),
    ],
)
def test_an_update_has_what_differs(before: dict, after: dict, change: dict) -> None:
    assert difference(before, after) == change


def test_an_update_makes_the_one_state_of_the_other() -> None:
    dice = random.Random(12)  # noqa: S311 - a test

    def state(depth: int = 0) -> dict:
        names = dice.sample("abcde", dice.randint(0, 4))
        return {
            name: state(depth + 1) if depth < 2 and dice.random() < 0.4 else dice.choice([1, 2.5, True, "x", ["y"]])
            for name in names
        }

    def without_empty(document: dict) -> dict:
        inner = {name: without_empty(value) if isinstance(value, dict) else value for name, value in document.items()}
        return {name: value for name, value in inner.items() if value != {}}

    for _ in range(500):
        before, after = state(), state()
        change = difference(before, after)
        assert without_empty(updated(before, change)) == without_empty(after)
        assert difference(updated(before, change), after) == {}
