"""What a deployment resets and merges of a configuration."""

import pytest

from lineside_bench.greengrass.core.configuration import Update, after, merged, steps

DEFAULT = {"topic": "a", "limits": {"score": "0.75", "area": "10"}, "list": [1, 2]}


@pytest.mark.parametrize(
    ("current", "update", "expected"),
    [
        (None, None, DEFAULT),
        (None, Update({"topic": "b"}), {**DEFAULT, "topic": "b"}),
        ({"topic": "mine"}, None, {**DEFAULT, "topic": "mine"}),
        ({"topic": "mine", "own": 1}, Update(reset=("",)), DEFAULT),
        ({"topic": "mine"}, Update(reset=("/topic",)), DEFAULT),
        ({"topic": "mine"}, Update({"topic": "x"}, ("/topic",)), {**DEFAULT, "topic": "x"}),
        ({"own": 1}, Update(reset=("/own",)), DEFAULT),
        ({"own": {"deep": 1}}, Update(reset=("/own/deep",)), {**DEFAULT, "own": {}}),
        ({"limits": {"score": "0.5"}}, Update(reset=("/limits/score",)), DEFAULT),
        ({"limits": {"score": "0.5", "own": 1}}, Update(reset=("/limits",)), DEFAULT),
        ({"limits": "spoilt"}, Update(reset=("/limits/score",)), {**DEFAULT, "limits": {"score": "0.75"}}),
        ({}, Update(reset=("/not/there",)), DEFAULT),
        ({}, Update({"list": [3]}), {**DEFAULT, "list": [3]}),
        ({}, Update({"TOPIC": "b"}), {**DEFAULT, "topic": "b"}),
        ({}, Update({"limits": {"area": None}}), {**DEFAULT, "limits": {"score": "0.75", "area": None}}),
    ],
)
def test_after_a_deployment(current, update, expected):
    assert after(current, DEFAULT, update) == expected


def test_nothing_that_was_given_is_changed():
    current = {"limits": {"score": "0.5"}}
    made = after(current, DEFAULT, Update({"limits": {"score": "0.1"}}))
    made["limits"]["area"] = "changed"
    assert current == {"limits": {"score": "0.5"}}
    assert DEFAULT["limits"]["area"] == "10"


def test_a_map_over_a_value_replaces_it():
    assert merged({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("pointer", "expected"), [("", ()), ("/", ()), ("/a/b", ("a", "b")), ("/a~1b/c~0d", ("a/b", "c~d"))]
)
def test_pointers(pointer, expected):
    assert steps(pointer) == expected


def test_what_is_no_pointer_is_refused():
    with pytest.raises(ValueError, match="begins with /"):
        steps("topic")
