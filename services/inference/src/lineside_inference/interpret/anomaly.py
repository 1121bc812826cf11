"""Anomaly: how much a part differs from good ones, where, and a small heat map of that."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret.judgement import DIGITS, Judgement, compare
from lineside_inference.interpret.outputs import Floats, Outputs
from lineside_inference.interpret.regions import MapWindow, regions
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Anomaly

HEAT_SIDE = 64
"""The longer side of a heat map, at most."""

_SLACK = 10.0**-DIGITS / 2


def judge_anomaly(
    outputs: Outputs, head: Anomaly, card: Card, thresholds: Thresholds, geometry: Geometry | None
) -> Judgement:
    """Judge an anomaly map, a score, or both, in units of the card's `range`.

    The part fails where its score reaches the threshold. Without a score of its own that is the map's highest value
    on the image, and one that only regions below `min_area` reach does not fail the part. Regions of the map at or
    above the threshold are the findings.
    """
    label = card.labels_of(head)[0]
    threshold = thresholds.of(label)
    if head.kind == "score":
        return by_score(label, _score(outputs, head, head.name), threshold)
    values = _scaled(outputs.shaped(head.name, 2, "[height, width]"), head)
    window = MapWindow.of(geometry, values.shape[1], values.shape[0])
    inside = np.ascontiguousarray(values[window.slices])
    mask = inside >= threshold - _SLACK
    found, omitted = list[Finding](), 0
    if mask.any():
        found, omitted = regions(
            mask, inside, window, label, min_area=head.min_area, most=head.max_findings, confidence="peak"
        )
    peak = round(float(inside.max()), DIGITS)
    score = peak if head.score is None else _score(outputs, head, head.score)
    reason = compare(label, score, threshold)
    is_failed = bool(found) or (head.score is not None and score >= threshold)
    if not is_failed and score >= threshold:
        reason += f", only in regions below {head.min_area} pixels"
    elif found and score < threshold:
        reason += f", but {compare('its map', found[0].confidence, threshold)}"
    if is_failed and not found:
        found = [Finding(label=label, confidence=score)]
    return Judgement(
        verdict="fail" if is_failed else "pass",
        reason=reason,
        findings=tuple(found),
        scores={label: score},
        omitted=omitted,
        heat=_heat(inside),
    )


def by_score(label: str, score: float, threshold: float) -> Judgement:
    """Judge the rounded score of the whole part."""
    findings = (Finding(label=label, confidence=score),) if score >= threshold else ()
    return Judgement("fail" if findings else "pass", compare(label, score, threshold), findings, {label: score})


def _score(outputs: Outputs, head: Anomaly, name: str) -> float:
    return round(float(_scaled(outputs.flat(name, 1, "score"), head)[0]), DIGITS)


def _scaled(values: Floats, head: Anomaly) -> Any:
    if head.range is None:
        return values
    low, high = head.range
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _heat(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return a map of at most HEAT_SIDE by HEAT_SIDE, uint8: 0 is the map's 0, 255 is 1 or what is above it."""
    height, width = values.shape
    factor = min(1.0, HEAT_SIDE / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    highest = max(1.0, float(values.max()))
    small = cv2.resize(np.clip(values / highest, 0.0, 1.0).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    heat: NDArray[np.uint8] = np.round(small * 255).astype(np.uint8)
    return heat
