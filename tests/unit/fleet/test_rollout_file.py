from pathlib import Path

import pytest

from lineside.errors import SettingsError
from lineside_fleet.rollout_file import Rollout, read_rollout
from tests.support.rollouts import MODEL, document, write


def said(tmp_path: Path, **more) -> str:
    with pytest.raises(SettingsError) as caught:
        read_rollout(write(tmp_path, **more))
    return str(caught.value)


def test_a_version_alone_stands_for_its_group(tmp_path):
    rollout = read_rollout(write(tmp_path, components={MODEL: "1.1.0", "com.example.A": {"version": "2.0.0"}}))
    assert {name: each.version for name, each in rollout.components.items()} == {
        MODEL: "1.1.0",
        "com.example.A": "2.0.0",
    }
    assert rollout.state == str(tmp_path / "defect-1.1.0.state.json")


def test_a_stages_rules_come_before_the_rollouts(tmp_path):
    stages = [
        {"name": "a", "percentage": 1, "window_minutes": 5, "failures": {"most_percent": 10}},
        {"name": "b", "percentage": 2},
    ]
    rollout = read_rollout(write(tmp_path, stages=stages, window_minutes=60, job={"per_minute": 7}))
    assert (rollout.window_of("a"), rollout.window_of("b"), rollout.window_of("fleet")) == (5, 60, 60)
    assert (rollout.failures_of("a").most_percent, rollout.failures_of("b").most_percent) == (10, 0)
    assert rollout.job_of("a").per_minute == 7


def test_what_it_says_has_one_digest_wherever_its_state_is(tmp_path):
    one, other = read_rollout(write(tmp_path)), read_rollout(write(tmp_path, state="s3://bucket/key"))
    assert one.digest == other.digest
    assert one.digest != read_rollout(write(tmp_path, window_minutes=1)).digest


def test_its_digest_is_of_what_it_says_and_not_of_defaults():
    class Newer(Rollout):
        waits: int = 5

    assert Newer.model_validate(document()).digest == Rollout.model_validate(document()).digest


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"stagess": []}, "did you mean 'stages'"),
        ({"stages": [{"name": "a", "percent": 5}]}, "did you mean 'percentage'"),
        ({"failures": {"handeling": "ROLLBACK"}}, "did you mean 'handling'"),
        ({"failures": {"handling": "STOP"}}, "'ROLLBACK' or 'DO_NOTHING'"),
        ({"stages": [{"name": "a", "percentage": 5, "group": "g"}]}, "one of group, percentage, names, pattern"),
        ({"stages": [{"name": "a"}]}, "none of them"),
        ({"stages": [{"name": "fleet", "percentage": 5}]}, "the name is the last stage's"),
        ({"stages": [{"name": "a", "percentage": 5}] * 2}, "the name of two stages"),
        ({"stages": [{"name": f"s{n}", "percentage": 1} for n in range(11)]}, "10"),
        ({"stages": []}, "stages"),
        ({"stages": [{"name": "a", "percentage": 60}, {"name": "b", "percentage": 50}]}, "add up to 110"),
        ({"stages": [{"name": "a", "percentage": 0}]}, "greater than 0"),
        ({"components": {}}, "components"),
        ({"components": {MODEL: "^1.0.0"}}, "a deployment takes no ranges"),
        ({"components": {MODEL: "1.1"}}, "three numbers"),
        ({"remove": [MODEL]}, "keep one of them"),
        ({"images": {"registry.example.com/inference": "latest"}}, "sha256"),
        ({"window_minutes": -1}, "window_minutes"),
        ({"target": "no group"}, "target"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_what_is_allowed(tmp_path, more, words):
    assert words in said(tmp_path, **more)


def test_a_name_given_twice_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("rollout: a\nrollout: b\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="given twice"):
        read_rollout(path)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_rollout(tmp_path / "none.yaml")
    assert document()["rollout"] == "defect-1.1.0"
