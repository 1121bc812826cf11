"""What a model's output means for the part, and the rules that heads share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding, Verdict
from lineside_inference.interpret.thresholds import Thresholds

DIGITS = 6
"""Confidences are rounded to so many digits before they are compared, so that 0.6 in FP32 reaches 0.6."""
_NAMED = 3


@dataclass(frozen=True)
class Judgement:
    """What the model's output means for the part; findings and scores have the largest first.

    `omitted` findings were left out at the card's bound. `heat` is a small image of an anomaly map, height x width
    of uint8, 0 the lowest.
    """

    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...]
    scores: dict[str, float]
    omitted: int = 0
    heat: NDArray[np.uint8] | None = None


def compare(label: str, value: float, threshold: float) -> str:
    """Return `scratch 0.93 >= 0.60`, with as many digits as tell the two numbers apart."""
    sign = ">=" if value >= threshold else "<"
    for digits in range(2, DIGITS):
        left, right = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if left != right or value == threshold:
            return f"{label} {left} {sign} {right}"
    return f"{label} {value} {sign} {threshold}"


def ranked(scores: dict[str, float]) -> dict[str, float]:
    """Return the scores with the largest first."""
    return dict(sorted(scores.items(), key=lambda pair: -pair[1]))


def by_defects(
    found: Sequence[Finding],
    scores: dict[str, float],
    defects: Sequence[str],
    thresholds: Thresholds,
    *,
    most: int,
    dropped: int = 0,
) -> Judgement:
    """Judge things found on the part: a defect at or above its threshold fails it, nothing of the kind passes it.

    At most `most` findings are kept, those that fail the part before the others; `dropped` were left out before, all
    less sure than others of their label.
    """
    failing = [one for one in found if one.label in defects and one.confidence >= thresholds.of(one.label)]
    ids = {id(one) for one in failing}
    others = [one for one in found if id(one) not in ids]
    kept = sorted([*_surest(failing), *_surest(others)][:most], key=_order)
    omitted = dropped + len(found) - len(kept)
    if failing:
        named = [compare(one.label, one.confidence, thresholds.of(one.label)) for one in _surest(failing)[:_NAMED]]
        more = len(failing) - len(named)
        if dropped or more:
            named[-1] += " and more" if dropped else f" and {more} more"
        return Judgement("fail", ", ".join(named), tuple(kept), ranked(scores), omitted)
    near = next((one for one in _surest(others) if one.label in defects), None)
    if near is None:
        return Judgement("pass", "no defect found", tuple(kept), ranked(scores), omitted)
    reason = f"no defect: {compare(near.label, near.confidence, thresholds.of(near.label))}"
    return Judgement("pass", reason, tuple(kept), ranked(scores), omitted)


def _order(finding: Finding) -> tuple[float, str, tuple[float, ...]]:
    return (-finding.confidence, finding.label, finding.box or ())


def _surest(findings: Sequence[Finding]) -> list[Finding]:
    return sorted(findings, key=_order)
