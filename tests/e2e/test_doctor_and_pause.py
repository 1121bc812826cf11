"""`lineside doctor` and the operator's switch on the whole line: own processes, real peers."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from tests.support.ports import free_port
from tests.support.waiting import HANG_S, block_until

LINESIDE = Path(sys.executable).with_name("lineside")
STATIONS = 4
OF_THE_MACHINE = {"machine", "memory", "clock", "disk", "docker", "docker compose", "nvidia runtime", "jetpack"}
"""Checks whose outcome is that of the machine which the tests run on, and not of the line."""


@pytest.fixture(scope="module")
def line(line_up) -> Iterator[SimpleNamespace]:
    """A line that judges a few parts a second."""
    with line_up(4) as state:
        yield SimpleNamespace(settings=Path(state["work"]) / "settings.yaml", **state["endpoints"])


def doctor(settings: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(LINESIDE), "doctor", "--config", str(settings), *more],
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )


def of_cameras(line: SimpleNamespace) -> list[str]:
    """Return the ages of the newest frames, one line a camera that has had one."""
    text = httpx.get(f"{line.inference}/metrics").text
    return [each for each in text.splitlines() if each.startswith("lineside_inference_camera_frame_age_seconds{")]


def report(settings: Path, status: int) -> dict[str, dict[str, str]]:
    """Return the doctor's checks by name."""
    run = doctor(settings, "--json")
    assert run.returncode == status, run.stdout + run.stderr
    document = json.loads(run.stdout)
    assert document["ok"] == (status == 0)
    return {check["name"]: check for check in document["checks"]}


def with_mark(checks: dict[str, dict[str, str]], mark: str) -> set[str]:
    return {name for name, check in checks.items() if check["mark"] == mark}


def test_a_running_line_is_well(line) -> None:
    block_until(lambda: len(of_cameras(line)) == STATIONS)  # a station's camera shows something while a part is there
    checks = report(line.settings, 0)
    assert set(checks) >= OF_THE_MACHINE
    checks = {name: check for name, check in checks.items() if name not in OF_THE_MACHINE}
    assert with_mark(checks, "fail") == set()
    # The bench's PLC has no security and its broker no accounts, and both is said.
    assert with_mark(checks, "warn") == {"PLC offers", "broker accounts"}, checks
    not_here = {"own certificate", "PLC certificate", "certificates", "secret files", "TensorRT engines"}
    not_needed = {"deployer", "deployments"}
    assert with_mark(checks, "skip") == not_here | not_needed, checks
    assert {"broker", "inference API", "models and cameras", "topics end to end", "PLC clock"} <= with_mark(
        checks, "ok"
    )
    assert {"forwarder", "evidence", "spool folder", "evidence waiting", "destination disk"} <= with_mark(checks, "ok")
    models = {"model surface-defect", "model spindle-anomaly"}
    assert {"ports", "model cards", "Triton", "shared memory", "metrics sources", *models} <= with_mark(checks, "ok")
    assert {f"camera station-{n}" for n in range(1, STATIONS + 1)} <= with_mark(checks, "ok")
    assert "'expired'" in checks["topics end to end"]["what"]
    assert {name for name in checks if name.startswith("trigger ")} == {
        "trigger spindle",
        *(f"trigger station-{n}" for n in range(1, STATIONS + 1)),
    }


def test_people_get_a_table(line) -> None:
    run = doctor(line.settings)
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^ok +broker +127\.0\.0\.1", run.stdout, re.MULTILINE)
    assert re.search(r"^warn +PLC offers .*\n +do: ", run.stdout, re.MULTILINE)
    assert re.match(r"\d+ checks: \d+ ok, ", run.stdout.splitlines()[-1])
    assert run.stderr == ""


def plc_away(document: dict[str, Any]) -> None:
    document["opcua_bridge"]["endpoint"] = f"opc.tcp://127.0.0.1:{free_port()}"


def broker_away(document: dict[str, Any]) -> None:
    document["bus"]["port"] = free_port()


def inference_away(document: dict[str, Any]) -> None:
    document["topic_bridge"]["inference_url"] = f"http://127.0.0.1:{free_port()}"


def other_topic(document: dict[str, Any]) -> None:
    document["bus"]["request_topic"] = "nobody/listens"


def wrong_node(document: dict[str, Any]) -> None:
    document["opcua_bridge"]["triggers"][0]["sample"]["part_id"] += "X"


def wrong_names(document: dict[str, Any]) -> None:
    document["opcua_bridge"]["triggers"][0]["model"] = "surface-defects"


@pytest.mark.parametrize(
    ("fault", "failed", "skipped", "says"),
    [
        (plc_away, "PLC network", {"PLC session", "PLC clock", "trigger station-1"}, "opcua_bridge.endpoint"),
        (broker_away, "broker", {"topics end to end"}, "bus.port"),
        (inference_away, "inference API", {"models and cameras", "topics end to end"}, "topic_bridge.inference_url"),
        (other_topic, "topics end to end", set(), "topic-bridge"),
        (wrong_node, "trigger station-1", set(), ""),
        (wrong_names, "models and cameras", set(), "model"),
    ],
)
def test_a_fault_names_itself(line, tmp_path: Path, fault, failed: str, skipped: set[str], says: str) -> None:
    document = yaml.safe_load(line.settings.read_text())
    fault(document)
    settings = tmp_path / "settings.yaml"
    settings.write_text(yaml.safe_dump(document))
    checks = report(settings, 1)
    assert with_mark(checks, "fail") - OF_THE_MACHINE == {failed}
    assert skipped <= with_mark(checks, "skip")
    assert checks[failed]["remedy"]
    assert says in checks[failed]["remedy"]


def test_wrong_settings_are_named_and_nothing_is_asked(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("bus: {prot: 1883}\n")
    run = doctor(settings)
    assert run.returncode == 2
    assert "bus.prot" in run.stdout
    assert "broker" not in run.stdout


def metric(line: SimpleNamespace, name: str, **labels: str) -> float:
    """Return the sum of a metric of the opcua-bridge over all labels that are not given."""
    text = httpx.get(f"{line.opcua_bridge}/metrics").text
    lines = [each for each in text.splitlines() if each.startswith(f"lineside_opcua_bridge_{name}{{")]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(each.rsplit(" ", 1)[1]) for each in lines if all(label in each for label in wanted))


def states(line: SimpleNamespace) -> dict[str, str]:
    connections = httpx.get(f"{line.opcua_bridge}/readyz").json()["connections"]
    return {link["name"]: f"{link['state']} since {link['since']}" for link in connections}


def switch(line: SimpleNamespace, *, enabled: bool) -> None:
    policy = httpx.get(f"{line.inference}/v1/policy")
    answer = httpx.put(
        f"{line.inference}/v1/policy",
        json=policy.json() | {"enabled": enabled},
        headers={"If-Match": policy.headers["etag"]},
    )
    assert answer.status_code == 200, answer.text


def test_the_switch_of_the_page_pauses_the_bridge_and_the_next_part_after_it_is_judged(line) -> None:
    block_until(lambda: metric(line, "verdicts_total", origin="result"))
    session = states(line)["opcua"]
    switch(line, enabled=False)
    try:
        block_until(lambda: all("PAUSED" in states(line)[f"trigger station-{n}"] for n in range(1, 5)))
        assert httpx.get(f"{line.opcua_bridge}/readyz").status_code == 200
        block_until(lambda: metric(line, "verdicts_total", origin="paused", verdict="unknown") >= 3)
        asked = metric(line, "requests_total")
        answered = metric(line, "verdicts_total", origin="paused")
        block_until(lambda: metric(line, "verdicts_total", origin="paused") >= answered + 3)
        assert metric(line, "requests_total") == asked
    finally:
        switch(line, enabled=True)
    block_until(lambda: all("ONLINE" in states(line)[f"trigger station-{n}"] for n in range(1, 5)))
    judged = metric(line, "verdicts_total", origin="result")
    block_until(lambda: metric(line, "verdicts_total", origin="result") >= judged + 3)
    assert states(line)["opcua"] == session  # the same session, never left
