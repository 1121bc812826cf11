from typing import Any

import pytest
from prometheus_client.core import Metric

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources.drift import Compared, ComponentDriftSource, families, models
from lineside_exporter.sources.source import Family


def model(version: str | None, wanted: str, **more: Any) -> dict[str, Any]:
    return {"name": "surface-defect", "version": version, "wanted": wanted, "detail": "", "refused": None} | more


@pytest.mark.parametrize(
    ("said", "desired", "expected"),
    [
        (model("1", "1"), {}, Compared("surface-defect", "1", "1")),
        (model("1", "1"), {"surface-defect": "2"}, Compared("surface-defect", "2", "1", "the policy in force names 1")),
        (model("1", "2", detail="loading"), {}, Compared("surface-defect", "2", "1", "loading")),
        (model(None, "1"), {}, Compared("surface-defect", "1", "none", "not loaded")),
        (
            model("1", "2", detail="x", refused={"version": "2", "reason": "load failed: no such file"}),
            {},
            Compared("surface-defect", "2", "1", "load failed: no such file"),
        ),
        (
            model("1", "3", detail="changing", refused={"version": "2", "reason": "of another version"}),
            {},
            Compared("surface-defect", "3", "1", "changing"),
        ),
    ],
)
def test_a_model_drifts_with_its_reason(said: dict[str, Any], desired: dict[str, str], expected: Compared) -> None:
    assert models({"models": [said]}, desired) == [expected]


def test_a_model_that_the_service_does_not_know_drifts() -> None:
    (found,) = models({"models": []}, {"new": "1"})
    assert (found.name, found.desired, found.actual, found.drifts) == ("new", "1", "none", True)


@pytest.mark.parametrize("document", [[], {}, {"models": [{"name": 1}]}, {"models": "none"}, None])
def test_what_is_no_list_of_models_is_refused(document: Any) -> None:
    with pytest.raises(NoMetrics, match="/v1/models is not what it should be: "):
        models(document, {})


def samples(found: list[Metric]) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {each.name: [(sample.labels, sample.value) for sample in each.samples] for each in found}


def test_why_is_told_only_while_it_drifts() -> None:
    found = samples(
        families("model", [Compared("a", "1", "1", "never shown"), Compared("b", "2", "1", "so\n  " + "long " * 99)])
    )
    assert found["lineside_drift"] == [({"kind": "model", "name": "a"}, 0), ({"kind": "model", "name": "b"}, 1)]
    ((labels, value),) = found["lineside_drift_info"]
    assert value == 1
    assert (labels["name"], labels["desired"], labels["actual"]) == ("b", "2", "1")
    assert labels["why"].startswith("so long long")
    assert len(labels["why"]) == 200


async def test_a_component_is_compared_with_what_it_says_of_itself() -> None:
    said = {
        "opcua-bridge": [
            Family("lineside_opcua_bridge_build_info", "gauge", "", ('x{service="opcua-bridge",version="0.1.0"} 1',))
        ],
        "inference": [
            Family("lineside_inference_build_info", "gauge", "", ('x{service="inference",version="0.2.0"} 1',))
        ],
    }
    desired = {"opcua-bridge": "0.2.0", "inference": "0.2.0", "forwarder": "0.2.0"}
    source = ComponentDriftSource(lambda name: said.get(name, []), desired, period_s=1, timeout_s=1)
    found = samples(list(await source.read()))
    # Of the forwarder, which is away, nothing is known.
    assert found["lineside_drift"] == [
        ({"kind": "component", "name": "opcua-bridge"}, 1),
        ({"kind": "component", "name": "inference"}, 0),
    ]
    assert [labels["why"] for labels, _ in found["lineside_drift_info"]] == ["another version runs"]
