"""What the last parts would have been judged by another policy."""

from collections.abc import Callable

import pytest

from lineside.contract import ModelRef, Policy, Result
from lineside_inference.models.card import Card
from lineside_inference.usecases.preview import Changed, preview


def judged(request_id: str, model: str = "surface-defect", version: str = "1", **scores: float) -> Result:
    ref = ModelRef(name=model, version=version, digest="sha256:0")
    verdict = {"status": "ok", "verdict": "pass", "reason": ""}
    return Result(id=f"of-{request_id}", request_id=request_id, model=ref, scores=scores, **verdict)


@pytest.fixture
def cards(make_card: Callable[..., Card]) -> dict[str, Card]:
    return {"surface-defect": make_card()}


def test_counts_and_changes_are_of_both_policies(cards: dict[str, Card]) -> None:
    results = [judged("a", good=0.9, scratch=0.55, pit=0.1), judged("b", good=0.9, scratch=0.2, pit=0.1)]
    made = preview(results, cards, Policy(), Policy(thresholds={"scratch": 0.5}), 200)
    assert (dict(made.before), dict(made.after)) == ({"pass": 2}, {"pass": 1, "fail": 1})
    assert made.changed == (Changed("a", "pass", "fail", "scratch 0.55 >= 0.50"),)
    assert made.is_exact


def test_other_models_and_versions_are_left_out(cards: dict[str, Card]) -> None:
    scores = {"good": 0.9, "scratch": 0.2, "pit": 0.1}
    results = [judged("a", version="2", **scores), judged("b", model="other", **scores), judged("c", **scores)]
    assert dict(preview(results, cards, Policy(), Policy(), 200).before) == {"pass": 1}


def test_so_many_are_compared_and_what_was_not_judged_takes_no_place(cards: dict[str, Card]) -> None:
    scores = {"good": 0.9, "scratch": 0.2, "pit": 0.1}
    off = judged("off", **scores).model_copy(update={"status": "disabled", "verdict": "unknown"})
    results = iter(
        [off, judged("a", **scores), off, judged("b", **scores), judged("c", **scores), judged("d", **scores)]
    )
    assert dict(preview(results, cards, Policy(), Policy(), 2).before) == {"pass": 2}
    assert len(list(results)) == 1


def test_of_nothing_there_is_nothing(cards: dict[str, Card]) -> None:
    made = preview([], cards, Policy(), Policy(thresholds={"default": 0.9}), 200)
    assert (dict(made.before), dict(made.after), made.changed, made.is_exact) == ({}, {}, (), True)


def test_one_model_of_maps_makes_it_close_only(head_card: Callable[..., Card], cards: dict[str, Card]) -> None:
    odd = head_card({"name": "y", "head": "anomaly"}, ["odd"]).model_copy(update={"name": "maps"})
    both = {**cards, "maps": odd}
    sharp = judged("a", good=0.9, scratch=0.2, pit=0.1)
    assert preview([sharp], both, Policy(), Policy(), 200).is_exact
    assert not preview([sharp, judged("b", model="maps", odd=0.2)], both, Policy(), Policy(), 200).is_exact
