"""Segmentation: from maps of labels to connected regions on the original image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret.judgement import DIGITS, Judgement, by_defects
from lineside_inference.interpret.outputs import Floats, Outputs, sigmoid
from lineside_inference.interpret.regions import MapWindow, regions
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Segmentation

_SLACK = 10.0**-DIGITS / 2


def segment(
    outputs: Outputs, head: Segmentation, card: Card, thresholds: Thresholds, geometry: Geometry | None
) -> Judgement:
    """Judge the regions: a defect's at or above its threshold fails the part, nothing of the kind passes it.

    A region's confidence is the mean of its pixels' probabilities, 1 where the model gives label numbers only. The
    scores are each label's surest region, 0 without one.
    """
    if head.format == "masks":
        found, dropped = _masks(outputs, head, card, thresholds, geometry)
    else:
        found, dropped = _exclusive(outputs, head, card, geometry)
    scores = {label: 0.0 for label in card.labels_of(head) if label != head.background}
    for one in found:
        scores[one.label] = max(scores[one.label], one.confidence)
    return by_defects(found, scores, card.defects, thresholds, most=head.max_findings, dropped=dropped)


def _masks(
    outputs: Outputs, head: Segmentation, card: Card, thresholds: Thresholds, geometry: Geometry | None
) -> tuple[list[Finding], int]:
    maps = _maps(outputs, head, len(card.labels_of(head)))
    window = MapWindow.of(geometry, maps.shape[2], maps.shape[1])
    found, dropped = list[Finding](), 0
    for label, values in zip(card.labels_of(head), maps, strict=True):
        if label == head.background:
            continue
        inside = np.ascontiguousarray(values[window.slices])
        sure = sigmoid(inside) if head.activation != "none" else inside
        level = head.mask_threshold
        if label in card.defects:
            level = min(level, thresholds.of(label))
        mask = sure >= level - _SLACK
        if mask.any():
            kept, omitted = _regions(mask, sure, window, label, head)
            found, dropped = found + kept, dropped + omitted
    return found, dropped


def _exclusive(
    outputs: Outputs, head: Segmentation, card: Card, geometry: Geometry | None
) -> tuple[list[Finding], int]:
    """Return the regions of maps of which each pixel has one label."""
    labels = card.labels_of(head)
    sure: NDArray[np.floating] | None = None
    background = labels.index(head.background) if head.background is not None else None
    if head.format == "indices":
        numbers = _numbers(outputs, head, len(labels))
        window = MapWindow.of(geometry, numbers.shape[1], numbers.shape[0])
        numbers = numbers[window.slices]
    else:
        maps = _maps(outputs, head, len(labels))
        window = MapWindow.of(geometry, maps.shape[2], maps.shape[1])
        rows, columns = window.slices
        numbers, sure = _winners(maps[:, rows, columns], background, is_logits=head.activation != "none")
    found, dropped = list[Finding](), 0
    for number in np.flatnonzero(np.bincount(numbers.reshape(-1), minlength=len(labels))).tolist():
        if number != background:
            mask = numbers == number
            kept, omitted = _regions(mask, sure, window, labels[number], head)
            found, dropped = found + kept, dropped + omitted
    return found, dropped


def _regions(
    mask: NDArray[np.bool_], sure: NDArray[np.floating] | None, window: MapWindow, label: str, head: Segmentation
) -> tuple[list[Finding], int]:
    return regions(mask, sure, window, label, min_area=head.min_area, most=head.max_findings, confidence="mean")


def _maps(outputs: Outputs, head: Segmentation, labels: int) -> Floats:
    meaning = f"[{labels}, height, width]" if head.layout == "chw" else f"[height, width, {labels}]"
    values = outputs.shaped(head.name, 3, meaning)
    if head.layout == "hwc":
        values = values.transpose(2, 0, 1)
    if len(values) != labels:
        raise outputs.unlike(head.name, outputs.raw(head.name).shape, meaning)
    return values


def _numbers(outputs: Outputs, head: Segmentation, labels: int) -> NDArray[np.intp]:
    """Return a map of label numbers, checked."""
    raw: NDArray[Any] = outputs.raw(head.name)
    given = outputs.finite(head.name) if raw.dtype.kind == "f" else raw
    values = outputs.unwrapped(head.name, given, 2, "[height, width]")
    lowest, highest = values.min(), values.max()
    if lowest < 0 or highest >= labels:
        strange = lowest if lowest < 0 else highest
        raise outputs.strange(head.name, f"label number {strange:g}, its card {labels} labels")
    numbers: NDArray[np.intp] = values.astype(np.intp)
    return numbers


def _winners(maps: Floats, background: int | None, *, is_logits: bool) -> tuple[NDArray[np.intp], NDArray[np.floating]]:
    """Return the number of the highest map at each pixel and its probability, the first of equal ones.

    The probability of pixels of the background is not worked out: nobody asks for it, and most are of it.
    """
    best = maps[0].copy()
    numbers = np.zeros(best.shape, np.intp)
    for number in range(1, len(maps)):
        numbers[maps[number] > best] = number
        np.maximum(best, maps[number], out=best)
    if not is_logits:
        return numbers, best
    sure = np.zeros_like(best)
    wanted = np.ones(best.shape, np.bool_) if background is None else numbers != background
    top = best[wanted]
    total = np.zeros_like(top)
    with np.errstate(over="ignore"):
        for values in maps:
            total += np.exp(values[wanted] - top)
    sure[wanted] = 1 / total
    return numbers, sure
