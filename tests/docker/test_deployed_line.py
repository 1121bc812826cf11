"""The whole line deployed from its recipes on a core device, on a real engine: parts, an update, the shadow."""

import json
from collections.abc import Callable

import pytest

from lineside.contract import Result, utc_now
from lineside_bench.deployable import CONTAINERS
from lineside_bench.greengrass.core.nucleus import Status
from lineside_bench.greengrass.core.plan import Change
from lineside_bench.reporting.records import milliseconds
from tests.support.deployed_line import DeployedLine
from tests.support.waiting import PATIENCE_S, Patience, block_until

pytestmark = pytest.mark.xdist_group("docker")

Figure = Callable[[str, float], None]


def passes(result: Result) -> bool:
    return result.verdict == "pass"


def judge(line: DeployedLine, parts: int) -> dict:
    """Judge parts and return the summary of a run in which the model judged most of them.

    On a busy machine cameras and model may be too late for many: these are `unknown`, and the run is done again.
    Missing, twice, wrong or lost is none on any machine.
    """
    patience = Patience(4 * PATIENCE_S)
    while True:
        _status, said, summary = line.attach(parts, rate=8)
        counts = {name: summary[name] for name in ("missing", "duplicates", "wrong_write_backs", "unverified")}
        assert counts == dict.fromkeys(counts, 0), said
        assert summary["evidence"]["lost"] == 0, said
        if summary["verdicts"]["pass"] + summary["verdicts"]["fail"] > parts / 2:
            return summary
        assert not patience.is_over(), said


def test_every_component_runs_and_parts_are_judged(line: DeployedLine, figure: Figure) -> None:
    assert {name: line.state(name) for name in CONTAINERS} == dict.fromkeys(CONTAINERS, "RUNNING")
    assert all(line.container_ids().values())
    first = line.verdicts[0] if line.verdicts else line.next_verdict()
    assert first.time.published is not None
    figure("deploy_to_first_verdict_s", round(milliseconds(line.first_began, first.time.published) / 1000, 1))


def test_a_hundred_parts_are_judged_over_ipc(line: DeployedLine) -> None:
    line.next_verdict()
    count = len(line.requests)
    summary = judge(line, 100)
    assert summary["parts"] == 100
    assert summary["evidence"]["delivered"] > 0
    assert len(line.requests) - count >= 100


def test_an_update_of_one_component_leaves_every_other_container_alone(line: DeployedLine, figure: Figure) -> None:
    line.next_verdict()
    before, count = line.container_ids(), len(line.verdicts)
    line.recipe("OpcUaBridge", "0.1.1")
    done = line.deploy({"OpcUaBridge": "0.1.1"})
    assert done.status is Status.SUCCEEDED, f"{done.why}\n{line.said()}"
    changed = {name for name, change in done.changes.items() if change is not Change.UNCHANGED}
    assert changed == {"com.lineside.OpcUaBridge"}
    line.next_verdict()
    figure("update_one_component_gap_ms", round(line.longest_gap_ms(count)))
    after = line.container_ids()
    assert {name for name in CONTAINERS if after[name] != before[name]} == {"OpcUaBridge"}
    judge(line, 8)


def test_a_threshold_edited_in_the_shadow_changes_the_verdicts(line: DeployedLine, figure: Figure) -> None:
    line.next_verdict(passes)

    def is_new(result: Result) -> bool:
        return "scratch" in [each.label for each in result.findings if each.confidence < 0.05]

    assert not any(map(is_new, line.verdicts))
    edited = utc_now()
    line.desire({"thresholds": {"scratch": 0}})
    try:
        first = line.next_verdict(is_new)
        assert first.verdict == "fail"
        assert first.time.published is not None
        figure("threshold_to_verdict_s", round(milliseconds(edited, first.time.published) / 1000, 2))
        wanted = {"default": 0.75, "scratch": 0}
        block_until(lambda: line.reported["thresholds"] == wanted, line.said, within=3 * PATIENCE_S)
        line.next_verdict(is_new)
        late = line.verdicts[line.verdicts.index(first) :]
        assert all(each.verdict == "fail" for each in late), "the old threshold judged after the new one"
    finally:
        line.desire({"thresholds": None})
    line.next_verdict(passes)


def test_a_shadow_that_switches_judging_off_stops_requests_until_it_is_on_again(line: DeployedLine) -> None:
    line.next_verdict()
    line.desire({"enabled": False})
    try:
        off = lambda: sum(each.origin == "disabled" for each in line.outcomes)  # noqa: E731 - read again and again
        before = off()
        block_until(lambda: off() > before, line.said, within=3 * PATIENCE_S, every=0.05)
        requests, since = len(line.requests), off()
        block_until(lambda: off() >= since + 8, line.said, within=3 * PATIENCE_S, every=0.05)
        assert len(line.requests) == requests
        block_until(lambda: line.reported["enabled"] is False, line.said, within=3 * PATIENCE_S)
        status, said, summary = line.attach(8, rate=8)
        assert summary["verdicts"] == {"pass": 0, "fail": 0, "unknown": 8}, f"{status} {said}"
        assert len(line.requests) == requests
    finally:
        line.desire({"enabled": True})
    line.next_verdict()
    assert len(line.requests) > requests


def test_a_wrong_edit_of_the_shadow_is_reported_and_the_line_goes_on(line: DeployedLine) -> None:
    line.desire({"thresholds": {"scratch": "high"}})
    try:
        block_until(lambda: line.reported.get("errors"), line.said, within=3 * PATIENCE_S)
        assert "scratch" in json.dumps(line.reported["errors"])
        line.next_verdict(passes)
    finally:
        line.desire({"thresholds": {"scratch": None}})
    block_until(lambda: line.reported.get("errors") == [], line.said, within=3 * PATIENCE_S)
