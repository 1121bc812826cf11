"""The alert rules by promtool: each fires, does not fire and resolves, and a rule without its threshold is caught."""

import functools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.waiting import HANG_S

RULES = ROOT / "docker" / "prometheus" / "rules" / "lineside.yaml"
GUIDE = ROOT / "docs" / "how-to" / "act-on-alerts.md"
FILES = sorted(Path(__file__).parent.glob("*.yaml"))
INTERVAL = "1m"
COMPARISON = re.compile(r"\s(?:>=|<=|==|>|<)\s+[\d.]+(?:\s\*\s\d+)?")
"""A comparison with a number, which is a threshold; the arithmetic after it is its own."""


@functools.cache
def groups() -> list[dict[str, Any]]:
    found = yaml.safe_load(RULES.read_text())["groups"]
    assert isinstance(found, list)
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


@functools.cache
def rule_tests() -> list[dict[str, Any]]:
    return [test for file in FILES for test in yaml.safe_load(file.read_text())["tests"]]


NAMES = [rule["alert"] for rule in alerts()]


def run(promtool: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *map(str, arguments)], capture_output=True, text=True, timeout=HANG_S, check=False)


def told_of(promtool: str, folder: Path, rule: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Let promtool test one alert: with the recording rules, without the other alerts, which only take time."""
    name = rule["alert"]
    alone = [
        {**group, "rules": [rule if one.get("alert") else one for one in of if one.get("alert", name) == name]}
        for group in groups()
        for of in [group["rules"]]
    ]
    mine = [one for one in rule_tests() if any(look["alertname"] == name for look in one["alert_rule_test"])]
    tests = {"rule_files": ["rules.yaml"], "evaluation_interval": INTERVAL, "tests": mine}
    (folder / "rules.yaml").write_text(json.dumps({"groups": alone}))  # JSON is YAML, and quick
    (folder / "tests.yaml").write_text(json.dumps(tests))
    return run(promtool, "test", "rules", folder / "tests.yaml")


def mutants() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield alert, what was taken away, and the rule without it: each threshold, and the time that it must last."""
    for rule in alerts():
        for found in COMPARISON.finditer(rule["expr"]):
            expr = rule["expr"][: found.start()] + rule["expr"][found.end() :]
            yield rule["alert"], f"{found[0].strip()} at {found.start()}", {**rule, "expr": expr}
        if "for" in rule:
            yield rule["alert"], f"for {rule['for']}", {key: value for key, value in rule.items() if key != "for"}


def test_rules_and_configuration_are_valid(promtool: str) -> None:
    checked = run(promtool, "check", "config", ROOT / "docker" / "prometheus" / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{RULES.name}\n  SUCCESS" in checked.stdout
    linted = run(promtool, "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_does_what_its_tests_say(promtool: str, tmp_path: Path, rule: dict[str, Any]) -> None:
    tested = told_of(promtool, tmp_path, rule)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tests_are_of_our_rules_and_of_alerts_alone(file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    assert (file.parent / document["rule_files"][0]).resolve() == RULES
    assert document["evaluation_interval"] == INTERVAL
    assert all(set(test) == {"name", "interval", "input_series", "alert_rule_test"} for test in document["tests"])


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_has_a_test_that_it_fires_resolves_and_does_not_fire(name: str) -> None:
    kinds = set()
    for test in rule_tests():
        seen = [bool(look["exp_alerts"]) for look in test["alert_rule_test"] if look["alertname"] == name]
        if True in seen:
            kinds.add("fires")
            assert not seen[0], "a test that fires begins with a look before it does"
            if not seen[-1]:
                kinds.add("resolves")
        elif seen:
            kinds.add("does not fire")
    assert kinds == {"fires", "resolves", "does not fire"}


def test_no_test_is_of_an_alert_that_is_not_there() -> None:
    assert {look["alertname"] for test in rule_tests() for look in test["alert_rule_test"]} == set(NAMES)


@pytest.mark.parametrize(("name", "taken", "rule"), [pytest.param(*one, id=f"{one[0]}-{one[1]}") for one in mutants()])
def test_an_alert_without_its_threshold_fails_its_tests(
    promtool: str, tmp_path: Path, name: str, taken: str, rule: dict[str, Any]
) -> None:
    tested = told_of(promtool, tmp_path, rule)
    assert tested.returncode != 0, f"{name} without `{taken}` passes its tests"
    assert f"alertname: {name}" in tested.stdout + tested.stderr, "the mutant must be a rule still"


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_how_bad_what_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/how-to/{GUIDE.name}#{rule['alert'].lower()}"


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    sections = re.split(r"^### (\w+)\n", GUIDE.read_text(), flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(found) == NAMES, "one section for each alert, in the rules' order"
    for name, text in found.items():
        for part in ("**Means**", "**Look**", "**Do**"):
            assert part in text, f"{name} has no {part}"
