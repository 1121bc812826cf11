"""A Result judged again by other thresholds gets the verdict that the model's output would have got by them."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lineside.contract import ModelRef, Result, utc_now
from lineside_inference.interpret import Judgement, interpret
from lineside_inference.interpret.rejudge import is_exact, rejudge
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.store import read_store

ROOT = Path(__file__).parents[3]
BANDS = [
    {"name": "calm", "below": 0.5, "verdict": "pass"},
    {"name": "watch", "below": 2.0, "verdict": "unknown"},
    {"name": "bad", "verdict": "fail"},
]
Outputs = dict[str, np.ndarray]
Make = Callable[..., Card]


def result_of(card: Card, judged: Judgement, version: str | None = None) -> Result:
    return Result(
        id="result",
        request_id="request",
        status="ok",
        verdict=judged.verdict,
        reason=judged.reason,
        model=ModelRef(name=card.name, version=version or card.version, digest="sha256:0"),
        findings=judged.findings,
        findings_omitted=judged.omitted,
        scores=judged.scores,
        time={"published": utc_now()},
    )


def vector_cards() -> Iterator[Card]:
    """The bench's models, each also with what else a head of single scores can do."""
    for model in read_store(ROOT / "models").values():
        document = model.card.model_dump(mode="json", by_alias=True, exclude_none=True)
        output = document["output"]
        yield model.card
        if output["head"] == "score":
            yield Card.model_validate({**document, "output": {**output, "bands": BANDS}})
        else:
            more = {"activation": "sigmoid", "nothing_found": "pass"}
            yield Card.model_validate({**document, "output": {**output, **more}})


def some_thresholds(numbers: random.Random, scores: dict[str, float]) -> Thresholds:
    """Return thresholds of some labels, some exactly a score; none is 0, the score of a label without a box."""
    named = {
        label: max(0.01, numbers.choice([value, value, round(numbers.random(), 2), round(3 * numbers.random(), 2)]))
        for label, value in scores.items()
        if numbers.random() < 0.7
    }
    return Thresholds(named, round(numbers.uniform(0.01, 1), 2))


def of_vectors(_make: Make, numbers: random.Random) -> Iterator[tuple[Card, Outputs]]:
    for card in vector_cards():
        for _ in range(100):
            spread = numbers.choice([0.5, 2.0, 6.0])
            values = [numbers.gauss(1, spread) for _ in card.labels]
            yield card, {card.heads[0].name: np.array(values, np.float32)}


def of_boxes(make: Make, numbers: random.Random) -> Iterator[tuple[Card, Outputs]]:
    head = {"name": "y", "head": "detection", "format": "xyxy6", "score_threshold": 0.3, "max_findings": 3}
    card = make(head, ["hole", "scratch", "screw"], ["hole", "scratch"])
    for _ in range(200):
        rows = [
            (5 * at, 5, 5 * at + 4, 9, numbers.random(), numbers.randrange(3)) for at in range(numbers.randrange(7))
        ]
        yield card, {"y": np.array(rows, np.float32).reshape(1, -1, 6)}


def of_regions(make: Make, numbers: random.Random) -> Iterator[tuple[Card, Outputs]]:
    head = {"name": "y", "head": "segmentation", "background": "nothing", "activation": "none", "max_findings": 2}
    card = make(head, ["nothing", "scratch", "pit"])
    for _ in range(100):
        yield card, {"y": np.array([numbers.random() for _ in range(3 * 6 * 8)], np.float32).reshape(3, 6, 8)}


def of_two_heads(make: Make, numbers: random.Random) -> Iterator[tuple[Card, Outputs]]:
    heads = [
        {"name": "c", "head": "classification", "activation": "none", "labels": ["good", "dent"]},
        {"name": "a", "head": "anomaly", "kind": "score", "labels": ["odd"], "range": [0, 2]},
        {"name": "r", "head": "raw", "labels": []} | {"labels": None},
    ]
    card = make(heads, ["good", "dent", "odd"], ["dent", "odd"])
    for _ in range(200):
        outputs = {"c": [numbers.random(), numbers.random()], "a": [2 * numbers.random()], "r": [numbers.random()]}
        yield card, {name: np.array(values, np.float32) for name, values in outputs.items()}


@pytest.mark.parametrize("cases", [of_vectors, of_boxes, of_regions, of_two_heads])
def test_it_is_the_verdict_of_the_model_s_output(cases: Any, head_card: Make) -> None:
    numbers = random.Random(5)  # noqa: S311 - cases, not secrets
    changed = 0
    for card, outputs in cases(head_card, numbers):
        assert is_exact(card)
        scores = interpret(outputs, card, Thresholds({}, 0.5)).scores
        given, other = some_thresholds(numbers, scores), some_thresholds(numbers, scores)
        judged = interpret(outputs, card, given)
        result = Result.model_validate_json(result_of(card, judged).model_dump_json(by_alias=True))
        expected = interpret(outputs, card, other)
        same, again = rejudge(result, card, given), rejudge(result, card, other)
        assert same is not None
        assert again is not None
        assert (same.verdict, again.verdict) == (judged.verdict, expected.verdict), (card.heads, result, given, other)
        changed += judged.verdict != expected.verdict
    assert changed > 3


def test_regions_of_a_map_are_found_anew_by_the_model_s_output_alone(head_card: Make) -> None:
    for head in ({"head": "anomaly"}, {"head": "segmentation", "format": "masks"}):
        assert not is_exact(head_card({"name": "y", **head}, ["odd"]))
    card = head_card({"name": "y", "head": "anomaly"}, ["odd"])
    peak = np.zeros((48, 64), np.float32)
    peak[10:20, 10:20] = 0.7
    result = result_of(card, interpret({"y": peak}, card, Thresholds({}, 0.8)))
    assert result.verdict == "pass"
    verdicts = [rejudge(result, card, Thresholds({}, limit)) for limit in (0.6, 0.8)]
    assert [one and one.verdict for one in verdicts] == ["fail", "pass"]


def test_a_label_of_two_heads_is_not_exact(head_card: Make) -> None:
    heads = [{"name": name, "head": "anomaly", "kind": "score", "labels": ["odd"]} for name in ("a", "b")]
    assert not is_exact(head_card(heads, ["odd"]))


def test_nothing_is_said_of_what_this_version_did_not_judge(make_card: Make) -> None:
    card, half = make_card(), Thresholds({}, 0.5)
    judged = interpret({"logits": np.array([3.0, 0, 0])}, card, half)
    assert rejudge(result_of(card, judged), card, half) == judged
    assert rejudge(result_of(card, judged, version="2"), card, half) is None
    other = judged.__class__("pass", "", (), {"good": 1.0})
    assert rejudge(result_of(card, other), card, half) is None
    off = Result(id="r", request_id="q", status="disabled", verdict="unknown", reason="off")
    assert rejudge(off, card, half) is None
    raw = make_card(output={"name": "y", "head": "raw"}, labels=[], defects=[], thresholds={})
    assert rejudge(result_of(raw, interpret({"y": np.ones(2)}, raw, half)), raw, half) is None
