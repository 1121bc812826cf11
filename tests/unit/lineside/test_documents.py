"""A name that stands twice is refused by its lines; YAML's own ways of saying something twice stay allowed."""

import re

import pytest

from lineside.documents import read_json, read_yaml


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("inference: {a: 1}\nbus: {}\ninference: {b: 2}\n", "'inference' is given twice, in lines 1 and 3"),
        ("bus:\n  port: 1\n  host: a\n  port: 2\n", "'port' is given twice, in lines 2 and 4"),
        ("a: [{b: 1, b: 1}]", "'b' is given twice, in lines 1 and 1"),
        ("1: a\n1: b\n", "1 is given twice"),
        ("a: 1\n'a': 2\n", "'a' is given twice"),
        ("base: &base {a: 1}\nmore:\n  <<: *base\n  b: 1\n  b: 2\n", "'b' is given twice, in lines 4 and 5"),
        ("a: b: c", "not YAML: mapping values are not allowed here"),
        ("[" * 20_000, "not YAML"),
    ],
)
def test_a_yaml_text_that_says_two_things_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_yaml(text)


def test_what_yaml_means_by_itself_stays_as_it_was() -> None:
    text = "base: &base {a: 1, b: 2}\none: {<<: *base, a: 3}\ntwo: *base\nthree: {a: 1}\nfour: ''\n"
    assert read_yaml(text) == {
        "base": {"a": 1, "b": 2},
        "one": {"a": 3, "b": 2},
        "two": {"a": 1, "b": 2},
        "three": {"a": 1},
        "four": "",
    }
    assert read_yaml("") is None
    chained = "- &a {x: 1}\n- &b {<<: *a, x: 2}\n- {<<: *b, x: 3}\n- {<<: [*a, *b]}\n"
    assert read_yaml(chained) == [{"x": 1}, {"x": 2}, {"x": 3}, {"x": 1}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"thresholds": {"scratch": 0.6, "scratch": 0.9}}', "'scratch' is given twice in one group"),
        ('{"a": NaN}', "NaN is no number of JSON"),
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON: nested too deeply"),
    ],
)
def test_a_json_text_that_says_two_things_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        read_json(text)


def test_the_same_name_in_two_groups_is_no_repetition() -> None:
    assert read_json(b'{"a": {"x": 1}, "b": [{"x": 1}, {"x": 2}]}') == {"a": {"x": 1}, "b": [{"x": 1}, {"x": 2}]}
