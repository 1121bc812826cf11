"""Recipes as they are read, and the manifest that fits a platform."""

import re

import pytest

from lineside.recipes.edge_manager_component import AGENT
from lineside_bench.errors import BenchError
from lineside_bench.greengrass.core.reading import parsed, read_file
from lineside_bench.greengrass.core.recipe import LITE, TIMEOUTS_S, DependencyType, fits, read_recipe
from tests.support.paths import ROOT

AMD64 = {"os": "linux", "architecture": "amd64"}
HEAD = "RecipeFormatVersion: 2020-01-25\nComponentName: com.example.Hello\nComponentVersion: 1.2.0\n"
PLAIN = HEAD + "Manifests:\n  - Lifecycle:\n      run: echo hello\n"


def recipe(text):
    return read_recipe(parsed(text, "hello.yaml", is_json=False))


def test_a_recipe_is_read_in_any_case():
    made = recipe(
        """
recipeformatversion: '2020-01-25'
COMPONENTNAME: com.example.Hello
componentVersion: 1.2.0
ComponentConfiguration:
  DefaultConfiguration: {Score: '0.75'}
ComponentDependencies:
  com.example.Hard: {VersionRequirement: ^1.0.0}
  com.example.Soft: {VersionRequirement: '>=1.0.0 <3.0.0', DependencyType: soft}
Manifests:
  - platform: {os: linux, architecture: amd64}
    Lifecycle:
      Setenv: {LEVEL: info, COUNT: 3, FLAG: true}
      Install: echo install
      STARTUP:
        script: echo start
        Timeout: '30'
        RequiresPrivilege: 'true'
        SkipIf: onpath nothing
        SetEnv: {LEVEL: debug}
    Artifacts:
      - URI: docker:example/hello:1.2.0
      - Uri: s3://bucket/hello.zip
        Unarchive: zip
"""
    )
    assert (made.name, made.version, made.default) == ("com.example.Hello", "1.2.0", {"Score": "0.75"})
    assert [(each.name, each.kind) for each in made.dependencies] == [
        ("com.example.Hard", DependencyType.HARD),
        ("com.example.Soft", DependencyType.SOFT),
    ]
    [manifest] = made.manifests
    assert sorted(manifest.steps) == ["install", "startup"]
    assert manifest.steps["install"].timeout_s == 120
    assert manifest.steps["install"].environment == {"LEVEL": "info", "COUNT": "3", "FLAG": "true"}
    startup = manifest.steps["startup"]
    assert (startup.timeout_s, startup.privileged, startup.skip_if) == (30, True, "onpath nothing")
    assert startup.environment["LEVEL"] == "debug"
    assert [each.image for each in manifest.artifacts] == ["example/hello:1.2.0", None]
    assert manifest.artifacts[1].unarchive == "ZIP"


def test_the_steps_default_time_limits():
    assert dict(TIMEOUTS_S) == {
        "bootstrap": 120,
        "install": 120,
        "startup": 120,
        "run": None,
        "shutdown": 15,
        "recover": 60,
        "uninstall": 120,
    }


@pytest.mark.parametrize(
    ("wanted", "platform", "expected"),
    [
        ({}, AMD64, True),
        ({"os": "linux"}, AMD64, True),
        ({"os": "*"}, AMD64, True),
        ({"os": "all"}, AMD64, True),
        ({"os": "windows"}, AMD64, False),
        ({"os": "linux", "architecture": "aarch64"}, AMD64, False),
        ({"architecture": "/amd64|aarch64/"}, AMD64, True),
        ({"architecture": "/amd/"}, AMD64, False),
        ({"com.example.l4t": "r36"}, AMD64, False),
        ({"com.example.l4t": "*"}, AMD64, False),
        ({"com.example.l4t": "r36"}, {**AMD64, "com.example.l4t": "r36"}, True),
        ({"os": "linux", "runtime": "*"}, {**AMD64, "runtime": "aws_nucleus_lite"}, True),
        ({"os": "linux", "runtime": "aws_nucleus_lite"}, {**AMD64, "runtime": "aws_nucleus_lite"}, True),
        ({"os": "linux"}, {**AMD64, "runtime": "aws_nucleus_lite"}, False),
        ({"os": "linux", "runtime": "aws_nucleus_lite"}, {**AMD64, "runtime": "aws_nucleus_classic"}, False),
    ],
)
def test_platforms(wanted, platform, expected):
    assert fits(wanted, platform) is expected


def test_the_first_manifest_that_fits_is_taken():
    made = recipe(
        HEAD
        + """Manifests:
  - {Name: strict, Platform: {os: linux, l4t: r36}, Lifecycle: {run: a}}
  - {Name: plain, Platform: {os: linux}, Lifecycle: {run: b}}
  - {Name: any, Lifecycle: {run: c}}
"""
    )

    def name(platform):
        found = made.fitting(platform)
        return found.name if found else None

    assert name({**AMD64, "l4t": "r36"}) == "strict"
    assert name(AMD64) == "plain"
    assert name({"os": "darwin"}) == "any"


def test_the_lifecycle_for_all_manifests_by_selection():
    made = recipe(
        HEAD
        + """Manifests:
  - {Name: a, Platform: {os: linux}, Selections: [jetson]}
  - {Name: b}
Lifecycle:
  run:
    jetson: {Script: on a jetson}
    all: {Script: anywhere}
  install: everywhere
"""
    )
    assert [each.steps["run"].script for each in made.manifests] == ["on a jetson", "anywhere"]
    assert [each.steps["install"].script for each in made.manifests] == ["everywhere", "everywhere"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- 1", "hello.yaml is [1]; expected names and values"),
        ("a: [", "hello.yaml: not YAML"),
        (PLAIN.replace("com.example.Hello", "'a b'"), "ComponentName is 'a b'; expected a component's name"),
        (PLAIN.replace("1.2.0", "'1.2'"), "ComponentVersion is '1.2'; expected a version of three numbers"),
        (PLAIN.replace("1.2.0", "1.2"), "ComponentVersion is 1.2; expected text"),
        (HEAD, "Manifests is None; expected at least one manifest"),
        (PLAIN.replace("run:", "strat:"), "strat: no such step"),
        (PLAIN.replace("run:", "stratup:"), "startup"),
        (PLAIN + "      startup: echo\n", "has startup and run"),
        (PLAIN.replace("echo hello", "{Script: a, Timeout: soon}"), "Timeout is 'soon'; expected seconds"),
        (PLAIN.replace("echo hello", "{Script: a, Timeout: 0}"), "Timeout is 0; expected seconds"),
        (PLAIN.replace("echo hello", "{Timeout: 3}"), "Script is None; expected a script"),
        (PLAIN.replace("echo hello", "{Script: a, Skipif: maybe}"), "Skipif is 'maybe'"),
        (PLAIN.replace("echo hello", "{Script: a, RequiresPrivilege: perhaps}"), "expected true or false"),
        (PLAIN + "ComponentDependencies: {x: {VersionRequirement: new}}", "x.VersionRequirement is 'new'"),
        (PLAIN + "ComponentDependencies: {x: {DependencyType: MAYBE}}", "DependencyType is 'MAYBE'; expected HARD"),
        (PLAIN + "    Platform: {os: /(/}\n", "os is '/(/'"),
        (PLAIN + "    Artifacts: [{Uri: ''}]\n", "Artifacts[0].Uri is ''; expected text"),
        (PLAIN + "    Artifacts: [{Uri: s3://b/k, Unarchive: TAR}]\n", "Unarchive is 'TAR'; expected NONE or ZIP"),
        (PLAIN + "COMPONENTNAME: x\n", "given twice"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text, says):
    with pytest.raises(BenchError, match=re.escape(says)) as caught:
        recipe(text)
    assert str(caught.value).startswith("hello.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_our_own_recipes_have_a_manifest_for_their_nucleus(file):
    made = read_recipe(read_file(file))
    assert made.fitting(AMD64)
    assert bool(made.fitting({**AMD64, "runtime": LITE})) == (file.stem != AGENT.name)  # the classic nucleus only
