import pytest

from lineside_fleet.aws.deployments import Execution
from lineside_fleet.rollout.standing import judge
from lineside_fleet.rollout_file import FailureSettings

THINGS = [f"d{number}" for number in range(10)]
MINUTE = 60.0


def stands(statuses, *, minutes=10, **rules):
    executions = {thing: Execution(status, 5.0 * MINUTE) for thing, status in zip(THINGS, statuses, strict=False)}
    settings = FailureSettings.model_validate(rules)
    return judge(executions, THINGS, settings, deployed_at=0.0, now=minutes * MINUTE)


@pytest.mark.parametrize(
    ("statuses", "rules", "state", "words"),
    [
        (["SUCCEEDED"] * 10, {}, "done", "10 of 10"),
        (["SUCCEEDED"] * 9, {}, "running", "9 of 10 devices have succeeded, 1 have not ended"),
        (["SUCCEEDED"] * 9 + ["IN_PROGRESS"], {}, "running", "1 have not ended"),
        (["SUCCEEDED"] * 9 + ["FAILED"], {}, "failed", "1 of 10 devices failed; 0 % may"),
        (["SUCCEEDED"] * 9 + ["FAILED"], {"most_percent": 10}, "done", "9 of 10"),
        (["FAILED", "TIMED_OUT"], {"most_percent": 10}, "failed", "2 of 10 devices failed; 10 % may"),
        (["SUCCEEDED"] * 5 + ["CANCELED"] * 5, {}, "failed", "only 5 of 10"),
        ([], {}, "running", "10 have not ended"),
    ],
)
def test_a_stage_stands_by_its_devices(statuses, rules, state, words):
    found = stands(statuses, **rules)
    assert found.state == state
    assert words in found.why


def test_devices_that_are_away_are_waited_for_so_long():
    rules = {"patience_minutes": 60, "enough_percent": 80}
    assert stands(["SUCCEEDED"] * 8, minutes=59, **rules).state == "running"
    over = stands(["SUCCEEDED"] * 8, minutes=60, **rules)
    assert (over.state, over.done_at) == ("done", 60 * MINUTE)
    assert "2 are not waited for" in over.why
    few = stands(["SUCCEEDED"] * 7, minutes=60, **rules)
    assert few.state == "failed"
    assert "only 7 of 10 devices have succeeded within 60 minutes" in few.why


def test_the_window_begins_when_the_last_device_has_ended_and_never_in_the_future():
    assert stands(["SUCCEEDED"] * 10).done_at == 5 * MINUTE
    assert stands(["SUCCEEDED"] * 10, minutes=3).done_at == 3 * MINUTE
