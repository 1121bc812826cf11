"""The dashboards and rules as files: what Grafana needs of them, and that they ask for metrics that exist."""

import json
import re
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from tests.support.scripts import load_script

GRAFANA = ROOT / "docker" / "grafana"
RULES = ROOT / "docker" / "prometheus" / "rules" / "lineside.yaml"
NAMES = ("line", "model", "device", "evidence")
PANEL = {"id", "type", "title", "description", "datasource", "gridPos", "targets", "fieldConfig", "options"}
TARGET = {"refId", "datasource", "editorMode", "expr", "legendFormat", "range"}
EVERYWHERE = {"thing", "service", "job", "instance", "le", "__name__"}
"""Labels that scraping, joining and histograms add."""
TRITON = {
    name: {"model", "version"}
    for name in (
        "nv_inference_count",
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_infer_duration_us",
    )
}
PROMETHEUS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
NAME = re.compile(r"\b(?:lineside[_:]|nv_)[\w:]+")


def dashboard(name: str) -> dict[str, Any]:
    found = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())
    assert isinstance(found, dict)
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def known() -> dict[str, set[str]]:
    """Return the labels of every metric that there is: the reference page, Triton's, and the recording rules'."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([^|]*) \|", page, flags=re.MULTILINE)
    found = {name: {label.strip() for label in labels.split(",") if label.strip()} for name, labels in rows}
    recorded = {rule["record"]: {"thing", "trigger"} for rule in rules() if "record" in rule}
    return {**found, **TRITON, **PROMETHEUS, **recorded}


def of(name: str, metrics: dict[str, set[str]]) -> set[str] | None:
    plain = re.sub(r"_(bucket|sum|count)$", "", name)
    return metrics.get(name, metrics.get(plain))


def faults(expr: str, metrics: dict[str, set[str]]) -> list[str]:
    """Return each metric of an expression that does not exist, and each label that its metric does not have."""
    found = [
        f"no metric {name}" for name in NAME.findall(expr) if of(name, metrics) is None and not _pattern(name, expr)
    ]
    for name, inside in SELECTOR.findall(expr):
        matchers = dict(MATCHER.findall(inside))
        if name:
            names = [name]
        else:
            names = [one for one in metrics if re.fullmatch(matchers["__name__"], one)]
            found += [] if names else [f"no metric is like {matchers['__name__']}"]
        for one in names:
            lacking = set(matchers) - EVERYWHERE - (of(one, metrics) or set())
            found += [f"{one} has no label {label}" for label in sorted(lacking)]
    return found


def _pattern(name: str, expr: str) -> bool:
    """Return whether a name is only the beginning of a pattern for names."""
    return re.search(rf'__name__=~"{re.escape(name)}[^"]', expr) is not None


def test_the_files_are_what_the_generator_writes() -> None:
    module = load_script(GRAFANA / "generate.py")
    assert sorted(module.DASHBOARDS) == sorted(file.stem for file in (GRAFANA / "dashboards").iterdir())
    for name in NAMES:
        assert (GRAFANA / "dashboards" / f"{name}.json").read_text() == module.text(name), "run generate.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_dashboard_is_complete(name: str) -> None:
    board = dashboard(name)
    provisioned = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "lineside.yaml").read_text())
    uid = provisioned["datasources"][0]["uid"]
    assert board["uid"] == f"lineside-{name}"
    assert board["schemaVersion"] >= 39
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    variables = {one["name"] for one in board["templating"]["list"]}
    for panel in panels:
        assert set(panel) == PANEL
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        for target in panel["targets"]:
            assert set(target) == TARGET
            assert target["expr"]
            assert target["datasource"]["uid"] == panel["datasource"]["uid"] == uid
            used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
            assert used <= variables, "a variable that is not there"
            assert "thing" in used, "boxes are told apart"


@pytest.mark.parametrize("name", NAMES)
def test_panels_lie_on_the_grid_and_not_on_one_another(name: str) -> None:
    places = [panel["gridPos"] for panel in dashboard(name)["panels"]]
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


def test_dashboards_and_rules_ask_for_metrics_and_labels_that_exist() -> None:
    metrics, wrong = known(), {}
    for name in NAMES:
        board = dashboard(name)
        asked = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel["targets"]]
        asked += [(one["name"], one["definition"]) for one in board["templating"]["list"]]
        wrong |= {f"{name}: {title}": found for title, expr in asked if (found := faults(expr, metrics))}
    named = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    wrong |= {name: found for name, expr in named if (found := faults(expr, metrics))}
    assert wrong == {}


def test_a_metric_or_label_that_does_not_exist_is_found() -> None:
    metrics = {"lineside_a_total": {"model"}, "lineside_b_seconds": {"stage"}}
    assert faults('rate(lineside_a_total{model="m", thing="t"}[5m]) + lineside_b_seconds_sum{le="1"}', metrics) == []
    assert faults("sum(lineside_c_total)", metrics) == ["no metric lineside_c_total"]
    assert faults('lineside_a_total{stage="x"}', metrics) == ["lineside_a_total has no label stage"]
    assert faults('{__name__=~"lineside_.+_total", model="m"}', metrics) == []
    assert faults('{__name__=~"lineside_.+_state"}', metrics) == ["no metric is like lineside_.+_state"]


def test_the_dashboards_folder_is_where_compose_mounts_it() -> None:
    provider = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "lineside.yaml").read_text())["providers"][0]
    grafana = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["grafana"]
    mounts = {mount["target"]: mount["source"] for mount in grafana["volumes"] if isinstance(mount, dict)}
    assert mounts[provider["options"]["path"]] == "./docker/grafana/dashboards"
    assert mounts["/etc/grafana/provisioning"] == "./docker/grafana/provisioning"
    assert provider["allowUiUpdates"] is False
