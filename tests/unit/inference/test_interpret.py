from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside.contract import Policy
from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.interpret import Judgement
from lineside_inference.interpret import interpret as interpret_outputs
from lineside_inference.interpret.thresholds import Thresholds, thresholds
from lineside_inference.models.card import Card

NONE = {"name": "logits", "head": "classification", "activation": "none"}
SCORE = {"name": "score", "head": "score"}


def interpret(output: np.ndarray, card: Card, thresholds: Thresholds) -> Judgement:
    return interpret_outputs({card.heads[0].name: output}, card, thresholds)


def half(**named: float) -> Thresholds:
    return Thresholds(named, 0.5)


def test_a_defect_at_its_threshold_fails_the_part(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([[0.1, 0.6, 0.3]]), make_card(output=NONE), half(scratch=0.6))
    assert (judged.verdict, judged.reason) == ("fail", "scratch 0.60 >= 0.60")
    assert [(found.label, found.confidence) for found in judged.findings] == [("scratch", 0.6)]


def test_findings_have_the_highest_first(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([0.99, 0.93, 0.95]), make_card(output=NONE), half(scratch=0.6))
    assert judged.reason == "pit 0.95 >= 0.50, scratch 0.93 >= 0.60"
    assert judged.verdict == "fail"


def test_a_certain_good_part_passes(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([0.97, 0.02, 0.01]), make_card(output=NONE), half())
    assert (judged.verdict, judged.reason, judged.findings) == ("pass", "good 0.97 >= 0.50", ())


def test_an_uncertain_part_is_unknown_and_says_why(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([0.4, 0.45, 0.15]), make_card(output=NONE), half())
    assert (judged.verdict, judged.reason) == ("unknown", "nothing is certain: scratch 0.45 < 0.50")


def test_numbers_that_round_alike_are_told_apart(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([0.49999, 0.3, 0.1]), make_card(output=NONE), half())
    assert judged.reason == "nothing is certain: good 0.49999 < 0.50000"


def test_softmax(make_card: Callable[..., Card]) -> None:
    judged = interpret(np.array([1000.0, 0, 0], np.float32), make_card(), half())
    assert judged.scores == {"good": 1.0, "scratch": 0.0, "pit": 0.0}


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3))
def test_softmax_and_sigmoid_stay_between_0_and_1(values: list[float]) -> None:
    document = {
        "schema": "lineside/card/1",
        "name": "m",
        "version": "1",
        "description": "",
        "task": "classification",
        "input": {"name": "x", "kind": "tensor", "datatype": "FP32", "shape": [3]},
        "labels": ["a", "b", "c"],
        "files": [{"path": "1/m", "sha256": "0" * 64}],
        "licence": "none",
    }
    for activation in ("softmax", "sigmoid"):
        output = {"name": "y", "head": "classification", "activation": activation}
        scores = interpret(np.array(values), Card.model_validate(document | {"output": output}), half()).scores
        assert all(0 <= score <= 1 for score in scores.values())
        assert list(scores.values()) == sorted(scores.values(), reverse=True)
        assert scores[max("abc", key=lambda label: values["abc".index(label)])] == max(scores.values())


def test_a_score_at_its_threshold_fails_and_below_passes(make_card: Callable[..., Card]) -> None:
    card = make_card(output=SCORE, labels=["anomaly"], defects=["anomaly"], thresholds={})
    high = interpret(np.array([[2.5]]), card, Thresholds({}, 2.5))
    low = interpret(np.array([[0.12]]), card, Thresholds({}, 2.5))
    assert (high.verdict, high.reason, high.findings[0].label) == ("fail", "anomaly 2.50 >= 2.50", "anomaly")
    assert (low.verdict, low.reason, low.findings) == ("pass", "anomaly 0.12 < 2.50", ())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_a_verdict(make_card: Callable[..., Card], value: float) -> None:
    with pytest.raises(OutputNotFinite):
        interpret(np.array([0.9, value, 0.1]), make_card(), half())


def test_another_number_of_values_is_named(make_card: Callable[..., Card]) -> None:
    with pytest.raises(EngineFailed, match="has 4 values, its card 3 labels"):
        interpret(np.zeros(4), make_card(), half())


@pytest.mark.parametrize(
    ("policy", "scratch", "pit"),
    [
        ({}, 0.6, 0.5),
        ({"scratch": 0.9}, 0.9, 0.5),
        ({"default": 0.7}, 0.7, 0.7),
        ({"default": 0.7, "pit": 0.2}, 0.7, 0.2),
    ],
)
def test_the_policy_comes_before_the_card(
    make_card: Callable[..., Card], policy: dict[str, float], scratch: float, pit: float
) -> None:
    found = thresholds(Policy(thresholds=policy), make_card())
    assert (found.of("scratch"), found.of("pit")) == (scratch, pit)


def test_without_any_threshold_it_is_a_half(make_card: Callable[..., Card]) -> None:
    assert thresholds(Policy(), make_card(thresholds={})).of("scratch") == 0.5
