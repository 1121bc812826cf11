"""Steps made ready to run, in both manners."""

from pathlib import Path

from lineside_bench.greengrass.core.preparing import WAYS, interpolated, prepare, release
from lineside_bench.greengrass.core.recipe import Manifest, Recipe, Step
from lineside_bench.greengrass.core.variables import Place, Scope

SCOPE = Scope(Place({"topic": "a"}, Path("/a"), Path("/u"), Path("/w")), Path("/g"), "press-7")
MANIFEST = Manifest(
    "",
    {},
    {
        "run": Step("say {configuration:/topic}", None, environment={"W": "{work:path}"}),
        "shutdown": Step("echo ${HOME}", 15.0),
        "install": Step("echo ${HOME}", 120.0),
    },
    {},
    (),
)


def test_the_classic_manner_carries_out_all_steps():
    made = prepare(MANIFEST, SCOPE, WAYS["classic"])
    assert sorted(made) == ["install", "run", "shutdown"]
    assert (made["run"].script, made["run"].environment) == ("say a", {"W": "/w"})
    assert (made["install"].script, made["install"].failure) == ("echo ${HOME}", "")


def test_the_lite_manner_leaves_steps_out_and_keeps_what_it_cannot_resolve_as_a_failure():
    made = prepare(MANIFEST, SCOPE, WAYS["lite"])
    assert sorted(made) == ["install", "run"]
    assert made["run"].environment == {"W": "/w/"}
    assert "every { begins one" in made["install"].failure


CONFIGURATION = {
    "topic": "line/{iot:thingName}",
    "rate": 7,
    "accessControl": {"service": {"policy": {"resources": ["line/{iot:thingName}", "{gone:x}"]}}},
}
POLICIES = {"service": {"policy": {"resources": ["line/press-7", "{gone:x}"]}}}


def test_variables_in_a_configuration_are_replaced_where_the_nucleus_is_told_to():
    classic = WAYS["classic"]
    assert interpolated(CONFIGURATION, SCOPE, classic, whole=False) == CONFIGURATION
    whole = interpolated(CONFIGURATION, SCOPE, classic, whole=True)
    assert whole == {"topic": "line/press-7", "rate": 7, "accessControl": POLICIES}


def test_the_lite_manner_replaces_them_in_policies_only():
    made = interpolated(CONFIGURATION, SCOPE, WAYS["lite"], whole=False)
    assert made == {**CONFIGURATION, "accessControl": POLICIES}


def test_a_release_tells_scripts_configuration_and_recipe_apart():
    recipe = Recipe("app", "1.0.0", {}, (), ())
    steps = prepare(MANIFEST, SCOPE, WAYS["classic"])
    same = release(recipe, steps, {"topic": "a"})
    assert same == release(recipe, prepare(MANIFEST, SCOPE, WAYS["classic"]), {"topic": "a"})
    assert same != release(recipe, steps, {"topic": "b"})
    other = Recipe("app", "1.0.0", {}, (), (), document={"ComponentDescription": "x"})
    assert same.recipe != release(other, steps, {"topic": "a"}).recipe
