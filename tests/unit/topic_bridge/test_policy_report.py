"""What is reported for an answer of the inference service."""

import json

import httpx
import pytest

from lineside_topic_bridge.policy import desired_topic, is_settled, report, reported_topic

NOW = "2026-11-21T12:00:00+00:00"


def test_the_topics_carry_the_things_name() -> None:
    assert desired_topic("press-7") == "lineside/press-7/policy"
    assert reported_topic(desired_topic("press-7")) == "lineside/press-7/policy/reported"


def test_what_was_applied_is_reported_with_its_tag() -> None:
    answer = httpx.Response(200, json={"enabled": True}, headers={"etag": '"a"'})
    assert report(answer, NOW) == {
        "policy": {"enabled": True},
        "etag": '"a"',
        "state": "applied",
        "errors": [],
        "time": NOW,
    }


def test_every_error_of_a_refusal_is_reported_up_to_a_bound() -> None:
    told = report(httpx.Response(422, json={"errors": ["x" * 500] * 30}), NOW)
    assert told["state"] == "refused"
    assert told["policy"] is None
    assert len(told["errors"]) == 21
    assert told["errors"][-1] == "and 10 more"
    assert len(json.dumps(told)) < 6 * 1024


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(413, json={"detail": "too large"}), "too large"),
        (httpx.Response(404, text="<html>"), "the inference service answered 404"),
        (httpx.Response(422, json=["not", "a", "problem"]), "the inference service answered 422"),
    ],
)
def test_an_answer_without_a_list_of_errors_has_one_all_the_same(answer: httpx.Response, said: str) -> None:
    assert report(answer, NOW)["errors"] == [said]


@pytest.mark.parametrize(("status", "settled"), [(200, True), (422, True), (429, False), (500, False), (503, False)])
def test_only_what_asking_again_cannot_change_is_settled(status: int, settled: bool) -> None:
    assert is_settled(httpx.Response(status)) is settled
