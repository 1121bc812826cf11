"""From a model's output to findings, scores and a verdict, by its card and the thresholds in force."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding, Verdict
from lineside_inference.errors import EngineFailed, OutputNotFinite
from lineside_inference.models.card import Card
from lineside_inference.policy import Thresholds

_DIGITS = 6


@dataclass(frozen=True)
class Judgement:
    """What the model's output means for the part; findings and scores have the largest first."""

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    scores: dict[str, float]


def interpret(output: NDArray[np.generic], card: Card, thresholds: Thresholds) -> Judgement:
    """Judge one output, of any shape with as many values as the card has labels.

    A defect label at or above its threshold is a finding, and any finding fails the part. Else the best of the
    other labels passes it at or above its threshold. Else the verdict is unknown. A head of one score fails the part
    at or above its threshold and passes it below.
    Raises EngineFailed for another number of values, OutputNotFinite for NaN or infinity.
    """
    if output.size != len(card.labels):
        raise EngineFailed(
            f"output {card.output.name!r} of model {card.name!r} has {output.size} values, "
            f"its card {len(card.labels)} labels",
            remedy="Make the card agree with the model",
        )
    values = output.reshape(-1).astype(np.float64)
    if not np.isfinite(values).all():
        raise OutputNotFinite(
            f"output {card.output.name!r} of model {card.name!r} is not finite",
            remedy="Check the model with this input; reduced precision (FP16) can overflow",
        )
    if card.output.head == "score":
        return _score(card.labels[0], round(float(values[0]), _DIGITS), thresholds)
    confidences = _activate(values, card.output.activation or "softmax")
    ranked = sorted(zip(card.labels, confidences.tolist(), strict=True), key=lambda pair: -pair[1])
    return _classify({label: round(value, _DIGITS) for label, value in ranked}, card, thresholds)


def _classify(scores: dict[str, float], card: Card, thresholds: Thresholds) -> Judgement:
    findings = tuple(
        Finding(label=label, confidence=confidence)
        for label, confidence in scores.items()
        if label in card.defects and confidence >= thresholds.of(label)
    )
    if findings:
        reason = ", ".join(_compare(found.label, found.confidence, thresholds) for found in findings)
        return Judgement("fail", reason, findings, scores)
    good = next((label for label in scores if label not in card.defects), None)
    if good is not None and scores[good] >= thresholds.of(good):
        return Judgement("pass", _compare(good, scores[good], thresholds), (), scores)
    best = next(iter(scores))
    return Judgement("unknown", f"nothing is certain: {_compare(best, scores[best], thresholds)}", (), scores)


def _score(label: str, score: float, thresholds: Thresholds) -> Judgement:
    reason = _compare(label, score, thresholds)
    if score >= thresholds.of(label):
        return Judgement("fail", reason, (Finding(label=label, confidence=score),), {label: score})
    return Judgement("pass", reason, (), {label: score})


def _activate(values: NDArray[np.float64], activation: str) -> NDArray[np.float64]:
    if activation == "softmax":
        powers = np.exp(values - values.max())
        shares: NDArray[np.float64] = powers / powers.sum()
        return shares
    if activation == "sigmoid":
        # exp(-|x|) never overflows, on either side of 0.
        small = np.exp(-np.abs(values))
        return np.where(values >= 0, 1 / (1 + small), small / (1 + small))
    return values


def _compare(label: str, value: float, thresholds: Thresholds) -> str:
    """Return `scratch 0.93 >= 0.60`, with as many digits as tell the two numbers apart."""
    threshold = thresholds.of(label)
    sign = ">=" if value >= threshold else "<"
    for digits in range(2, _DIGITS):
        left, right = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if left != right or value == threshold:
            return f"{label} {left} {sign} {right}"
    return f"{label} {value} {sign} {threshold}"
