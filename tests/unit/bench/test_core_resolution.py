"""Which versions go together, and the order of the start."""

import re

import pytest

from lineside_bench.greengrass.core.recipe import Dependency, DependencyType, Recipe
from lineside_bench.greengrass.core.resolution import Unresolvable, closure, hard, order, resolve

SOFT = DependencyType.SOFT


def recipe(name, version, *dependencies):
    return Recipe(name, version, {}, tuple(Dependency(*each) for each in dependencies), ())


def versions(roots, *recipes, **more):
    return {name: each.version for name, each in resolve(roots, recipes, **more).items()}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (">=0.0.0", "2.1.0"),
        ("^1.0.0", "1.4.0"),
        ("~1.0.0", "1.0.9"),
        ("1.0.0", "1.0.0"),
        (">=1.0.0 <1.4.0", "1.0.9"),
        ("1.x", "1.4.0"),
        ("<1.0.5 || >=2.0.0", "2.1.0"),
        ("1.0.0 - 1.0.9", "1.0.9"),
        ("*", "2.1.0"),
    ],
)
def test_the_highest_version_in_the_range_is_taken(requirement, expected):
    there = [recipe("b", each) for each in ("1.0.0", "2.1.0", "1.0.9", "1.4.0")]
    assert versions({"a": "1.0.0"}, recipe("a", "1.0.0", ("b", requirement)), *there)["b"] == expected


def test_all_who_need_a_component_must_allow_its_version():
    made = versions(
        {"a": "1.0.0", "b": "1.0.0"},
        recipe("a", "1.0.0", ("c", ">=1.0.0")),
        recipe("b", "1.0.0", ("c", "<1.2.0", SOFT)),
        *(recipe("c", each) for each in ("1.0.0", "1.1.0", "1.2.0")),
    )
    assert made == {"a": "1.0.0", "b": "1.0.0", "c": "1.1.0"}


def test_what_the_older_version_needed_is_not_kept():
    made = versions(
        {"a": "1.0.0", "b": "1.0.0"},
        recipe("a", "1.0.0", ("c", "*")),
        recipe("b", "1.0.0", ("d", "*")),
        recipe("c", "2.0.0", ("e", "*")),
        recipe("c", "1.0.0"),
        recipe("d", "1.0.0", ("c", "1.0.0")),
        recipe("e", "1.0.0"),
    )
    assert made == {"a": "1.0.0", "b": "1.0.0", "c": "1.0.0", "d": "1.0.0"}


def test_components_of_aws_are_provided():
    needs = recipe("a", "1.0.0", ("aws.greengrass.TokenExchangeService", "^2.0.0"))
    assert versions({"a": "1.0.0", "aws.greengrass.TokenExchangeService": "2.0.3"}, needs) == {"a": "1.0.0"}


@pytest.mark.parametrize(
    ("roots", "recipes", "says"),
    [
        ({"a": "2.0.0"}, [recipe("a", "1.0.0")], "a 2.0.0 is deployed; there are 1.0.0"),
        ({"a": "2.0.0"}, [], "no recipe of it is there"),
        ({"a": "1.0.0"}, [recipe("a", "1.0.0", ("b", "^1.0.0"))], "no recipe of b is there; a 1.0.0 asks for"),
        (
            {"a": "1.0.0"},
            [recipe("a", "1.0.0", ("b", "^2.0.0")), recipe("b", "1.0.0"), recipe("b", "10.0.0")],
            "of b there are 1.0.0, 10.0.0; a 1.0.0 asks for ^2.0.0",
        ),
        (
            {"a": "1.0.0", "b": "1.0.0"},
            [recipe("a", "1.0.0", ("b", "^2.0.0")), recipe("b", "1.0.0"), recipe("b", "2.0.0")],
            "b is deployed in 1.0.0; a 1.0.0 asks for",
        ),
        (
            {"a": "1.0.0"},
            [recipe("a", "1.0.0", ("aws.greengrass.Nucleus", "^9.0.0"))],
            "aws.greengrass.Nucleus is deployed in",
        ),
        (
            {"a": "1.0.0", "aws.greengrass.Nucleus": "2.0.0"},
            [recipe("a", "1.0.0", ("aws.greengrass.Nucleus", ">=2.5.0"))],
            "aws.greengrass.Nucleus is deployed in 2.0.0",
        ),
    ],
)
def test_what_cannot_be_resolved_says_who_asks_for_what(roots, recipes, says):
    with pytest.raises(Unresolvable, match=re.escape(says)):
        resolve(roots, recipes)


def test_what_another_needs_starts_before_it():
    chosen = {
        "a": recipe("a", "1.0.0", ("z", "*"), ("m", "*", SOFT)),
        "m": recipe("m", "1.0.0", ("z", "*")),
        "z": recipe("z", "1.0.0", ("aws.greengrass.Nucleus", "*")),
        "b": recipe("b", "1.0.0"),
    }
    assert order(chosen) == ["z", "m", "a", "b"]
    assert closure("a", chosen) == {"z", "m", "aws.greengrass.Nucleus"}
    assert hard(chosen["a"], chosen) == ["z"]


def test_a_circle_is_refused_with_its_way():
    chosen = {"a": recipe("a", "1.0.0", ("b", "*")), "b": recipe("b", "1.0.0", ("a", "*"))}
    with pytest.raises(Unresolvable, match="a > b > a"):
        order(chosen)
