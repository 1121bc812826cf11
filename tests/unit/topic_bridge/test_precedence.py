"""Which policy follows from the wishes of several sources, and whose wish a refusal belongs to."""

import itertools

import pytest

from lineside_topic_bridge.steering.precedence import State, Step, give_up, hear, interrupted, merged, settle
from lineside_topic_bridge.steering.wishes import Answer, Wish

ORDER = ("shadow", "topic", "configuration")
UNKNOWN = "policy.thresholds.scrach: no model has this label. Did you mean 'scratch'?"


def new(*, awaited: tuple[str, ...] = ()) -> State:
    return State(ORDER, frozenset(awaited))


def told(state: State, *wishes: Wish) -> Step:
    """Return the last step after wishes that are all taken."""
    step = Step(state)
    for wish in wishes:
        step = hear(step.state, wish)
        while step.put is not None:
            answers = step.answers
            step = settle(step.state, step.put, ())
            step = Step(step.state, step.put, {**answers, **step.answers})
    return step


def test_one_sources_wish_is_applied_and_answered() -> None:
    step = hear(new(), Wish("topic", {"enabled": False}))
    assert (step.put, step.answers) == ({"enabled": False}, {})
    done = settle(step.state, step.put, ())
    assert (done.put, done.answers) == (None, {"topic": Answer("applied")})
    assert done.state.steering == ("topic",)


def test_what_the_first_names_wins_name_by_name() -> None:
    wishes = (
        Wish("shadow", {"thresholds": {"scratch": 0.6}, "capture": {"rate": 0.5}}),
        Wish("topic", {"enabled": False, "thresholds": {"scratch": 0.9, "pit": 0.4}, "capture": {"every": 10}}),
        Wish("configuration", {"enabled": True, "thresholds": {"default": 0.75}, "models": {"m": "2"}}),
    )
    for order in itertools.permutations(wishes):
        assert told(new(), *order).state.applied == {
            "enabled": False,
            "thresholds": {"default": 0.75, "scratch": 0.6, "pit": 0.4},
            "models": {"m": "2"},
            "capture": {"every": 10, "rate": 0.5},
        }


def test_the_order_is_a_matter_of_the_settings() -> None:
    wishes = [Wish("shadow", {"enabled": True}), Wish("topic", {"enabled": False})]
    assert told(new(), *wishes).state.applied == {"enabled": True}
    assert told(State(("topic", "shadow", "configuration")), *wishes).state.applied == {"enabled": False}


def test_an_invalid_wish_leaves_the_last_good_one_and_is_answered_with_all_its_errors() -> None:
    state = told(new(), Wish("shadow", {"enabled": False})).state
    step = hear(state, Wish("shadow", errors=("a", "b")))
    assert step.put is None
    assert step.answers == {"shadow": Answer("refused", ("a", "b"))}
    assert merged(step.state) == {"enabled": False}
    assert step.state.errors == {"shadow": ("a", "b")}
    again = told(step.state, Wish("shadow", {"enabled": False}))
    assert again.state.errors == {}
    assert again.answers == {"shadow": Answer("applied")}


def test_an_invalid_first_wish_leaves_what_its_source_says_was_in_force() -> None:
    step = hear(new(), Wish("shadow", errors=("a",), stands={"enabled": False}))
    assert step.put == {"enabled": False}
    below = told(step.state, Wish("topic", {"enabled": True, "thresholds": {"pit": 0.5}}))
    assert below.state.applied == {"enabled": False, "thresholds": {"pit": 0.5}}


def test_an_invalid_first_wish_changes_nothing() -> None:
    step = hear(new(), Wish("shadow", errors=("a",)))
    assert (step.put, step.state.steering) == (None, ())


def test_a_refusal_is_the_fault_of_the_source_that_names_the_place() -> None:
    state = hear(new(), Wish("topic", {"thresholds": {"pit": 0.4}})).state
    step = hear(state, Wish("shadow", {"thresholds": {"scrach": 0.6}}))
    refused = settle(step.state, step.put, (UNKNOWN,))
    assert refused.answers == {"shadow": Answer("refused", (UNKNOWN,))}
    assert refused.put == {"thresholds": {"pit": 0.4}}
    done = settle(refused.state, refused.put, ())
    assert done.answers == {"topic": Answer("applied")}
    assert done.state.errors == {"shadow": (UNKNOWN,)}


def test_a_refusal_of_the_upper_sources_place_blames_it_though_the_lower_one_names_it_too() -> None:
    high = "policy.thresholds.pit: 1.2 is above 1"
    state = told(new(), Wish("topic", {"thresholds": {"pit": 0.4}})).state
    step = hear(state, Wish("shadow", {"thresholds": {"pit": 1.2}}))
    refused = settle(step.state, step.put, (high,))
    assert refused.answers == {"shadow": Answer("refused", (high,))}
    assert refused.put is None
    assert merged(refused.state) == {"thresholds": {"pit": 0.4}}


@pytest.mark.parametrize("error", ["wrong", "policy.other: wrong"])
def test_a_refusal_that_names_no_place_is_the_fault_of_all_that_is_new(error: str) -> None:
    state = told(new(), Wish("topic", {"enabled": True})).state
    step = hear(state, Wish("shadow", {"enabled": False}))
    refused = settle(step.state, step.put, (error,))
    assert refused.answers == {"shadow": Answer("refused", (error,))}
    assert refused.put is None


def test_a_good_wish_that_became_wrong_holds_back_a_new_one_and_both_are_told() -> None:
    """The model of the shadow's label was taken away: the inference service refuses whatever contains it."""
    state = told(new(), Wish("shadow", {"thresholds": {"scrach": 0.6}})).state
    step = hear(state, Wish("topic", {"enabled": False}))
    refused = settle(step.state, step.put, (UNKNOWN,))
    assert refused.answers == {"shadow": Answer("refused", (UNKNOWN,)), "topic": Answer("refused", (UNKNOWN,))}
    assert refused.put is None


def test_the_same_wish_again_is_repeated_and_answered() -> None:
    state = told(new(), Wish("topic", {"enabled": False})).state
    step = hear(state, Wish("topic", {"enabled": False}))
    assert (step.put, step.is_repeated, step.answers) == (None, True, {"topic": Answer("applied")})


def test_a_withdrawn_wish_leaves_what_the_others_wish_and_the_last_policy_where_none_is_left() -> None:
    state = told(new(), Wish("topic", {"enabled": False}), Wish("shadow", {"enabled": True})).state
    without = told(state, Wish("shadow"))
    assert without.state.applied == {"enabled": False}
    nobody = hear(without.state, Wish("topic"))
    assert (nobody.put, nobody.state.steering) == (None, ())


def test_nothing_is_applied_before_all_that_are_awaited_were_heard() -> None:
    step = hear(new(awaited=("shadow",)), Wish("topic", {"enabled": True}))
    assert step.put is None
    assert hear(step.state, Wish("shadow", {"enabled": False})).put == {"enabled": False}
    assert hear(step.state, Wish("shadow", errors=("a",))).put == {"enabled": True}
    assert hear(step.state, Wish("shadow")).put == {"enabled": True}
    assert give_up(step.state, "shadow").put == {"enabled": True}


def test_what_may_have_been_applied_is_put_again_after_a_refusal() -> None:
    state = told(new(), Wish("topic", {"enabled": False})).state
    under_way = hear(state, Wish("topic", {"enabled": True}))
    step = hear(interrupted(under_way.state), Wish("topic", {"thresholds": {"scrach": 0.5}}))
    refused = settle(step.state, step.put, (UNKNOWN,))
    assert refused.put == {"enabled": False}


def test_a_wish_that_another_source_overrules_is_asked_for_all_the_same() -> None:
    state = told(new(), Wish("shadow", {"enabled": False})).state
    step = hear(state, Wish("topic", {"enabled": True}))
    assert step.put == {"enabled": False}
    assert settle(step.state, step.put, ()).answers == {"topic": Answer("applied")}


def test_a_wrong_wish_that_comes_again_is_repeated() -> None:
    wrong = Wish("topic", errors=("a",))
    step = hear(hear(new(), wrong).state, wrong)
    assert (step.is_repeated, step.answers) == (True, {"topic": Answer("refused", ("a",))})
    document = {"thresholds": {"scrach": 0.5}}
    asked = hear(new(), Wish("topic", document))
    refused = settle(asked.state, asked.put, (UNKNOWN,))
    again = hear(refused.state, Wish("topic", document))
    assert (again.put, again.is_repeated) == (None, True)
    assert again.answers == {"topic": Answer("refused", (UNKNOWN,))}
    assert hear(again.state, Wish("topic", {"thresholds": {"pit": 0.5}})).put == {"thresholds": {"pit": 0.5}}


def test_a_refusal_never_asks_for_the_same_policy_again() -> None:
    """The shadow is blamed, and falls back to what the refused policy had in any case."""
    state = told(new(), Wish("shadow", {"thresholds": {"pit": 0.4}})).state
    changed = hear(state, Wish("topic", {"enabled": False}))
    step = hear(changed.state, Wish("configuration", {"enabled": True}))
    refused = settle(step.state, step.put, ("policy.thresholds.pit: no model has this label",))
    assert refused.put is None
    assert set(refused.answers) == {"shadow", "topic", "configuration"}


def test_two_wishes_at_once_are_both_answered() -> None:
    state = told(new(), Wish("shadow", {"enabled": False})).state
    step = hear(state, Wish("topic", {"enabled": True}))
    again = hear(step.state, Wish("shadow", {"enabled": False}))
    assert settle(again.state, again.put, ()).answers == {"topic": Answer("applied")}
