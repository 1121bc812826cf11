"""Triton's models, the host, containers: the metrics made of what each of them answers."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric

from lineside_exporter.errors import NoMetrics
from lineside_exporter.sources import containers, host, triton
from lineside_exporter.sources.containers import Container

INDEX = [{"name": "spindle-anomaly", "version": "1", "state": "READY"}, {"name": "away", "version": "", "state": ""}]
STATISTICS = {
    "model_stats": [
        {
            "name": "spindle-anomaly",
            "version": "1",
            "last_inference": 1_795_000_000_123,
            "inference_count": 12,
            "execution_count": 9,
            "inference_stats": {
                "success": {"count": 12, "ns": 5_000_000_000},
                "fail": {"count": 1, "ns": 7},
                "queue": {"count": 12, "ns": 250_000_000},
                "compute_input": {"count": 12, "ns": 1_000_000},
                "compute_infer": {"count": 12, "ns": 4_000_000_000},
                "compute_output": {"count": 12, "ns": 2_000_000},
                "cache_hit": {"count": 0, "ns": 0},
            },
        },
        {"name": "new", "version": "2", "last_inference": 0},
    ]
}


def values(found: list[Metric]) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for each in found for sample in each.samples}


def test_tritons_answers_become_metrics() -> None:
    found = values(triton.families(INDEX, STATISTICS))
    assert found["lineside_triton_model_ready", "spindle-anomaly", "1"] == 1
    assert found["lineside_triton_model_ready", "away", ""] == 0
    assert found["lineside_triton_model_requests_total", "spindle-anomaly", "1", "success"] == 12
    assert found["lineside_triton_model_requests_total", "spindle-anomaly", "1", "fail"] == 1
    assert found["lineside_triton_model_inferences_total", "spindle-anomaly", "1"] == 12
    assert found["lineside_triton_model_executions_total", "spindle-anomaly", "1"] == 9
    assert found["lineside_triton_model_stage_seconds_total", "spindle-anomaly", "1", "queue"] == 0.25
    assert found["lineside_triton_model_stage_seconds_total", "spindle-anomaly", "1", "compute_infer"] == 4
    last = "lineside_triton_model_last_inference_timestamp_seconds"
    assert found[last, "spindle-anomaly", "1"] == 1_795_000_000.123
    assert (last, "new", "2") not in found


@pytest.mark.parametrize(
    ("index", "statistics"),
    [
        ({"error": "no"}, STATISTICS),
        (INDEX, []),
        (INDEX, {"model_stats": [{"name": "x"}]}),
        (INDEX, {"model_stats": [{"name": "x", "version": "1", "inference_count": -1}]}),
        (INDEX, {"model_stats": [{"name": "x", "version": "1", "inference_count": 2**64}]}),
        (INDEX, {"model_stats": [{"name": "x", "version": "1", "last_inference": float("nan")}]}),
    ],
)
def test_what_is_not_tritons_answer_is_refused(index: Any, statistics: Any) -> None:
    with pytest.raises(NoMetrics, match="Triton's answer is not what it should be"):
        triton.families(index, statistics)


def test_more_models_than_anybody_has_are_not_shown() -> None:
    many = [{"name": f"m{number}", "version": "1", "state": "READY"} for number in range(2000)]
    assert len(values(triton.families(many, {"model_stats": []}))) == 500


@pytest.mark.parametrize(
    ("before", "now", "share"),
    [
        (None, (1.0, 2.0), None),
        ((1.0, 10.0), (2.0, 14.0), 0.25),
        ((1.0, 10.0), (1.0, 10.0), None),
        ((1.0, 10.0), (0.5, 5.0), None),
        ((2.0, 10.0), (1.9, 11.0), 0.0),
    ],
)
def test_the_cpus_load_is_of_the_time_between_two_readings(before: Any, now: Any, share: float | None) -> None:
    assert host.busy_share(before, now) == share


@given(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)))
def test_a_load_is_a_share(before: tuple[float, float], now: tuple[float, float]) -> None:
    share = host.busy_share(before, now)
    assert share is None or 0 <= share <= 1


async def test_the_host_says_what_it_can_and_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    cpu = iter([(1.0, 10.0), (3.0, 14.0)])
    gone = tmp_path / "gone"
    source = host.HostSource(period_s=1, timeout_s=1, cpu=lambda: next(cpu))
    first, second = values(list(await source.read())), values(list(await source.read()))
    second |= values(list(await host.DisksSource([tmp_path, gone], period_s=1, timeout_s=1).read()))
    assert ("lineside_host_cpu_load_ratio",) not in first
    assert second["lineside_host_cpu_load_ratio",] == 0.5
    path = str(tmp_path)
    total = second["lineside_host_disk_total_bytes", path]
    assert 0 < second["lineside_host_disk_used_bytes", path] <= total
    assert 0 <= second["lineside_host_disk_free_bytes", path] <= total
    assert ("lineside_host_disk_total_bytes", str(gone)) not in second
    assert 0 < second["lineside_host_memory_used_bytes",] < second["lineside_host_memory_total_bytes",]


def container(status: str, health: str | None = None, **more: Any) -> Container:
    state = {"Status": status} | ({"Health": {"Status": health}} if health else {})
    return Container.model_validate({"Name": "/box-inference-1", "State": state} | more)


def test_a_container_is_in_one_state() -> None:
    labels = {"com.docker.compose.service": "inference"}
    found = values(containers.families([container("running", "healthy", RestartCount=3, Config={"Labels": labels})]))
    assert {state: found["lineside_container_state", "inference", state] for state in containers.STATES} == {
        "created": 0,
        "running": 1,
        "paused": 0,
        "restarting": 0,
        "exited": 0,
        "dead": 0,
    }
    assert found["lineside_container_health", "inference", "healthy"] == 1
    assert found["lineside_container_health", "inference", "unhealthy"] == 0
    assert found["lineside_container_restarts", "inference"] == 3


def test_a_container_that_a_person_ran_beside_a_services_own_is_not_taken_for_it() -> None:
    labels = {"com.docker.compose.service": "inference", "com.docker.compose.oneoff": "False"}
    own = container("running", Config={"Labels": labels})
    ran = container("exited", Config={"Labels": labels | {"com.docker.compose.oneoff": "True"}})
    for found in ([own, ran], [ran, own]):
        assert values(containers.families(found))["lineside_container_state", "inference", "running"] == 1
    assert values(containers.families([ran])) == {}


@pytest.mark.parametrize(("status", "health"), [("running", None), ("exited", "healthy")])
def test_health_is_told_only_of_what_runs_and_is_checked(status: str, health: str | None) -> None:
    found = values(containers.families([container(status, health)]))
    assert found["lineside_container_state", "box-inference-1", status] == 1
    assert not [key for key in found if key[0] == "lineside_container_health"]
