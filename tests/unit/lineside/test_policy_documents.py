"""A policy read from a document, with everything that is wrong with it."""

import pytest

from lineside.contract import Capture, Policy
from lineside.policy_documents import PolicyFaults, named, policy_of, read_policy


def test_only_what_is_named_is_named_again() -> None:
    policy = read_policy(b'{"thresholds": {"pit": 0.5}, "capture": {"always": []}}')
    assert policy == Policy(thresholds={"pit": 0.5}, capture=Capture(always=()))
    assert named(policy) == {"thresholds": {"pit": 0.5}, "capture": {"always": []}}
    assert named(read_policy(b"{}")) == {}


def test_text_is_taken_for_what_it_says_unless_that_is_refused() -> None:
    document = {"enabled": "false", "thresholds": {"pit": "0.5"}}
    assert policy_of(document) == Policy(enabled=False, thresholds={"pit": 0.5})
    with pytest.raises(PolicyFaults) as refused:
        policy_of(document, strict=True)
    assert refused.value.faults == [
        "policy.enabled: expected true or false (got 'false')",
        "policy.thresholds.pit: expected a number (got '0.5')",
    ]


@pytest.mark.parametrize("document", [None, [], "x", 3, {"thresholds": {"pit": float("inf")}}, {"capture": []}])
def test_what_is_no_policy_is_refused_strictly_too(document: object) -> None:
    for strict in (True, False):
        with pytest.raises(PolicyFaults):
            policy_of(document, strict=strict)


def test_lists_are_lists_strictly_too() -> None:
    assert policy_of({"capture": {"labels": ["pit"], "band": [0, 1]}}, strict=True).capture.labels == ("pit",)
