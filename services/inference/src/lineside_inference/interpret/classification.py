"""Classification: one score for each label, of the whole part."""

from lineside.contract import Finding
from lineside_inference.interpret.judgement import DIGITS, Judgement, compare
from lineside_inference.interpret.outputs import Outputs, sigmoid, softmax
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Classification


def classify(outputs: Outputs, head: Classification, card: Card, thresholds: Thresholds) -> Judgement:
    """Judge an output of any shape with as many values as labels.

    A defect at or above its threshold is a finding, and any finding fails the part. Else the best of the other labels
    passes it at or above its threshold. Else the verdict is the card's `nothing_found`.
    """
    labels = card.labels_of(head)
    values = outputs.flat(head.name, len(labels), "labels")
    if head.activation == "sigmoid":
        values = sigmoid(values)
    elif head.activation != "none":
        values = softmax(values)
    pairs = sorted(zip(labels, values.tolist(), strict=True), key=lambda pair: -pair[1])
    scores = {label: round(value, DIGITS) for label, value in pairs}
    return by_scores(scores, head, card, thresholds)


def by_scores(scores: dict[str, float], head: Classification, card: Card, thresholds: Thresholds) -> Judgement:
    """Judge the rounded scores of all labels, the largest first."""
    findings = tuple(
        Finding(label=label, confidence=confidence)
        for label, confidence in scores.items()
        if label in card.defects and confidence >= thresholds.of(label)
    )
    if findings:
        reasons = (compare(one.label, one.confidence, thresholds.of(one.label)) for one in findings)
        return Judgement("fail", ", ".join(reasons), findings, scores)
    good = next((label for label in scores if label not in card.defects), None)
    if good is not None and scores[good] >= thresholds.of(good):
        return Judgement("pass", compare(good, scores[good], thresholds.of(good)), (), scores)
    best = next(iter(scores))
    nearest = compare(best, scores[best], thresholds.of(best))
    if head.nothing_found == "pass":
        return Judgement("pass", f"no defect: {nearest}", (), scores)
    return Judgement("unknown", f"nothing is certain: {nearest}", (), scores)
