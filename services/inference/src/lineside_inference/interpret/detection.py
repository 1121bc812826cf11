"""Detection: from a detector's output, in any of the formats, to boxes on the original image and a verdict.

Every label of a box that reaches its threshold counts, not only the best one: a defect must not hide behind a surer
harmless label. What survives is filtered label by label, and boxes outside the image are no findings.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Finding
from lineside_inference.imaging.geometry import Boxes, Geometry
from lineside_inference.interpret.boxes import bounded, corners, has_area, suppress
from lineside_inference.interpret.candidates import Candidates, read
from lineside_inference.interpret.judgement import DIGITS, Judgement, by_defects
from lineside_inference.interpret.outputs import Outputs
from lineside_inference.interpret.prototypes import mask_pixels
from lineside_inference.interpret.rotated import rotated_corners, suppress_rotated
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.detection import Detection

MAX_CANDIDATES = 1000
"""The most boxes that are filtered against each other; those that fail the part, then the surest, come first."""

_BOX_DIGITS = 2
_SHARE_DIGITS = 6


def detect(
    outputs: Outputs, head: Detection, card: Card, thresholds: Thresholds, geometry: Geometry | None
) -> Judgement:
    """Judge the detections: a defect at or above its threshold fails the part, nothing of the kind passes it.

    The scores are each label's highest. Without `geometry` the boxes are those of the model.
    """
    labels = card.labels_of(head)
    limits = np.array([thresholds.of(label) for label in labels])
    is_defect = np.array([label in card.defects for label in labels])
    floors = np.where(is_defect, np.minimum(limits, head.score_threshold), head.score_threshold)
    if head.background is not None:
        floors[labels.index(head.background)] = np.inf
    found = read(outputs, head, len(labels), floors)
    confidence = np.round(found.score, DIGITS)
    fails = is_defect[found.label] & (confidence >= limits[found.label])
    # Bounded twice: before the boxes are placed, and again after those outside the image are gone.
    chosen = np.flatnonzero(confidence >= floors[found.label])
    chosen = chosen[_first(fails[chosen], confidence[chosen], MAX_CANDIDATES * 10)]
    label, confidence, fails = found.label[chosen], confidence[chosen], fails[chosen]
    placed = _PlacedBoxes(found, found.box[chosen], head, geometry)
    boxes = placed.boxes
    shown = np.round(boxes if geometry is None else geometry.clip(boxes), _BOX_DIGITS)
    kept = np.flatnonzero(has_area(shown))
    kept = kept[_first(fails[kept], confidence[kept], MAX_CANDIDATES)]
    if head.iou is not None and kept.size > 1:
        kept = kept[placed.suppress(kept, label[kept], head.iou)]
    kept, dropped = kept[: head.max_findings], max(0, kept.size - head.max_findings)
    regions = placed.regions(outputs, kept, shown[kept])
    findings = [
        Finding(label=labels[number], confidence=sure, box=(box[0], box[1], box[2], box[3]), **more)
        for number, sure, box, more in zip(
            label[kept].tolist(), confidence[kept].tolist(), shown[kept].tolist(), regions, strict=True
        )
    ]
    scores = dict(zip(labels, np.round(found.best.astype(np.float64), DIGITS).tolist(), strict=True))
    if head.background is not None:
        del scores[head.background]
    return by_defects(findings, scores, card.defects, thresholds, most=head.max_findings, dropped=dropped)


class _PlacedBoxes:
    """The output's boxes on the image, or in the model's input where there is no image; `boxes` is N x 4."""

    def __init__(self, found: Candidates, rows: NDArray[np.intp], head: Detection, geometry: Geometry | None) -> None:
        self._found, self._rows, self._head, self._geometry = found, rows, head, geometry
        numbers = bounded(found.numbers[rows])
        if head.is_normalised and geometry is not None:
            numbers = numbers * np.array(_sides(head, geometry))
        self._numbers = numbers
        self._quads = rotated_corners(numbers, self._angles) if head.is_rotated else None
        if self._quads is None:
            self.boxes = self._to_image(corners(numbers, head.box_form))
        else:
            self._quads = self._to_image(self._quads.reshape(-1, 4)).reshape(-1, 4, 2)
            self.boxes = np.concatenate((self._quads.min(axis=1), self._quads.max(axis=1)), axis=1)

    def suppress(self, which: NDArray[np.intp], labels: NDArray[np.intp], threshold: float) -> NDArray[np.intp]:
        """Return which of these, in the order of their rank, are kept by non-maximum suppression."""
        if self._quads is None:
            return suppress(self.boxes[which], labels, threshold)
        return suppress_rotated(self._numbers[which], self._angles[which], labels, threshold)

    def regions(self, outputs: Outputs, which: NDArray[np.intp], shown: Boxes) -> list[dict[str, Any]]:
        """Return the fields of each finding beside its box: its corners where rotated, the area of its mask."""
        if self._quads is not None:
            corners_of = np.round(self._quads[which], _BOX_DIGITS).tolist()
            return [{"corners": tuple(map(tuple, one))} for one in corners_of]
        name = self._head.prototypes
        if name is None or self._geometry is None:
            return [{} for _ in which]
        whole = self._geometry.width * self._geometry.height
        pixels = mask_pixels(
            outputs.shaped(name, 3, "[K, height, width]"), self._found.extra[self._rows[which]], shown, self._geometry
        )
        return [
            {"pixels": min(whole, round(one)), "area": min(1.0, round(one / whole, _SHARE_DIGITS))} for one in pixels
        ]

    @property
    def _angles(self) -> NDArray[np.float64]:
        angles: NDArray[np.float64] = self._found.extra[self._rows, 0].astype(np.float64)
        return angles

    def _to_image(self, boxes: Boxes) -> Boxes:
        return boxes if self._geometry is None else self._geometry.to_image(boxes)


def _sides(head: Detection, geometry: Geometry) -> tuple[int, ...]:
    sides = (geometry.input_width, geometry.input_height)
    return (sides[::-1] if head.box_form == "yxyx" else sides) * 2


def _first(fails: NDArray[np.bool_], confidence: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Return indices in the order of rank, at most `most`: first what fails the part, then by confidence."""
    rank = confidence + np.where(fails, confidence.max(initial=0.0) + 1.0, 0.0)
    chosen = np.arange(rank.size) if rank.size <= most else np.sort(np.argpartition(-rank, most)[:most])
    return chosen[np.argsort(-rank[chosen], kind="stable")]
