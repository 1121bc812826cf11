from hypothesis import given
from hypothesis import strategies as st

from lineside_fleet.rollout.stages import order, select
from lineside_fleet.rollout_file import Rollout
from tests.support.rollouts import document

FLEET = [f"core-{number:04d}" for number in range(200)]


def rollout(*stages, name="r"):
    return Rollout.model_validate(
        document(rollout=name, stages=[{"name": f"s{n}", **each} for n, each in enumerate(stages)])
    )


def sizes(selected):
    return [len(each.things) for each in selected]


def test_percentages_take_their_share_of_what_no_other_stage_names():
    selected, problems = select(rollout({"names": FLEET[:100]}, {"percentage": 10}, {"percentage": 25}), FLEET, {})
    assert problems == []
    assert sizes(selected) == [100, 10, 25]
    assert not set(selected[1].things) & set(selected[2].things)


@given(
    st.lists(st.floats(0.5, 40), min_size=1, max_size=10).filter(lambda shares: sum(shares) <= 100),
    st.integers(0, 300),
    st.sampled_from(["a", "b", "defect-1.1.0"]),
)
def test_stages_by_percentage_never_overlap_and_are_the_same_each_time(shares, devices, name):
    fleet = [f"d{number}" for number in range(devices)]
    asked = rollout(*({"percentage": share} for share in shares), name=name)
    selected, problems = select(asked, fleet, {})
    assert not [problem for problem in problems if "overlap" in problem]
    things = [thing for each in selected for thing in each.things]
    assert len(things) == len(set(things)) <= devices
    assert (selected, problems) == select(asked, list(reversed(fleet)), {})
    for each in selected:
        empty = f"stage {each.stage.name}: " in " ".join(problems)
        assert empty == (not each.things)


def test_another_rollout_begins_with_other_devices():
    assert order("a", FLEET) == order("a", FLEET) != order("b", FLEET)


def test_names_patterns_and_groups_select_what_they_say():
    selected, problems = select(
        rollout({"names": ["core-0001"]}, {"pattern": "core-001?"}, {"group": "beside"}, {"group": "within"}),
        FLEET,
        {"beside": ["x1", "x2"], "within": FLEET[50:60]},
    )
    assert problems == []
    assert sizes(selected) == [1, 10, 2, 10]
    assert [each.within for each in selected] == [True, True, False, True]


def test_what_selects_nobody_or_overlaps_or_lies_across_is_said():
    asked = rollout(
        {"names": ["core-001", "core-0002"]},
        {"pattern": "core-000?"},
        {"pattern": "press-*"},
        {"group": "empty"},
        {"group": "across"},
        {"percentage": 0.1},
    )
    _, problems = select(asked, FLEET, {"empty": [], "across": ["core-0100", "x1"]})
    text = "\n".join(problems)
    assert "stage s0: 'core-001' is no thing of the target; did you mean 'core-0" in text
    assert "stages s0 and s1 overlap: core-0002" in text
    assert "stage s2: pattern 'press-*' fits no thing" in text
    assert "stage s3: group empty is empty" in text
    assert "stage s4: 1 of the 2 things of group across" in text
    assert "stage s5: 0.1 % of 189 devices selects nobody; 0.529 % is one device" in text
