"""What is reported for an answer of the inference service."""

import json

import httpx
import pytest

from lineside.contract import policy_topic, reported_policy_topic
from lineside_topic_bridge.reporting import document, in_force, news
from lineside_topic_bridge.steering.asking import is_settled, report

NOW = "2026-11-21T12:00:00+00:00"


def test_the_topics_carry_the_things_name() -> None:
    assert policy_topic("press-7") == "lineside/press-7/policy"
    assert reported_policy_topic("press-7") == "lineside/press-7/policy/reported"


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


A = {"policy": {"enabled": False}, "etag": '"a"'}
B = {"policy": {"enabled": True}, "etag": '"b"'}
REFUSED = {"state": "refused", "errors": ["wrong"], "time": NOW}


def test_an_answer_that_is_no_policy_is_none() -> None:
    assert in_force(httpx.Response(200, json={"enabled": False}, headers={"etag": '"a"'})) == A
    for answer in (httpx.Response(404), httpx.Response(200, text="<html>"), httpx.Response(200, json=[1])):
        assert in_force(answer) is None


def test_only_what_changed_is_told() -> None:
    first = news(A, None, NOW)
    assert first == {**A, "state": "applied", "errors": [], "time": NOW, "source": None, "steering": []}
    assert news(A, first, NOW) is None
    steered = {**first, "source": "topic", "steering": ["topic"]}
    assert news(B, steered, NOW) == {**steered, **B, "source": "other"}


def test_a_refusal_is_not_forgotten_where_the_policy_in_force_becomes_known_later() -> None:
    unknown = {"policy": None, "etag": None, **REFUSED}
    assert news(A, unknown, NOW) == {**A, **REFUSED}
    assert news(A, {**A, **REFUSED}, NOW) is None
    later = news(B, {**A, **REFUSED}, NOW)
    assert later is not None
    assert later["state"] == "applied"


@pytest.mark.parametrize("enabled", [True, False])
def test_a_policy_too_long_for_a_message_still_says_whether_it_is_enabled(enabled: bool) -> None:
    policy = {"enabled": enabled, "thresholds": {f"label-{number}": 0.5 for number in range(400)}}
    told = json.loads(document({"policy": policy, "etag": '"a"', "state": "applied", "errors": [], "time": NOW}, 6144))
    assert (told["policy"], told["enabled"], told["etag"]) == (None, enabled, '"a"')


def test_a_policy_that_is_not_known_is_neither_on_nor_off() -> None:
    told = json.loads(document({"policy": None, "etag": None, **REFUSED}, 6144))
    assert told["enabled"] is None
