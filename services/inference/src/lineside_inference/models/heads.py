"""The heads of a card: one way of reading a model's output each, chosen by `head`."""

from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lineside.contract import Verdict
from lineside_inference.models.detection import Detection
from lineside_inference.models.head import (
    MAX_FINDINGS,
    WIDEST,
    CardHead,
    CardPart,
    Label,
    OutputTensor,
    Share,
    Sizes,
    TensorName,
)

__all__ = ["Anomaly", "Band", "Classification", "Detection", "Head", "Raw", "Score", "Segmentation"]


class Classification(CardHead):
    """One score for each label, of the whole part."""

    head: Literal["classification"]
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """softmax: logits, one label is right; sigmoid: logits, each label for itself; none: probabilities."""
    nothing_found: Literal["unknown", "pass"] = "unknown"
    """The verdict where no defect and no other label reaches its threshold; pass: only defects are looked for."""

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the one tensor; its room is known by the labels."""
        if self.shape is not None:
            return super().tensors(labels)
        return (OutputTensor(self.name, labels * WIDEST, self.datatype),)


class Band(CardPart):
    """A range of a score with a name and a verdict, from the band before it to `below`."""

    name: Label
    """What it is called in the reason."""
    below: float | None = None
    """Its end, not part of it; absent in the last band."""
    verdict: Verdict
    """What it means for the part."""


class Score(CardHead):
    """One number for the whole part: an anomaly score, a measured size, a remaining life."""

    head: Literal["score"]
    bands: Annotated[tuple[Band, ...], Field(min_length=1, max_length=64)] | None = None
    """Ranges with verdicts, rising; in place of the threshold, above which a part fails."""

    takes_one_label: ClassVar[bool] = True

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the one tensor, of one value."""
        del labels
        return (OutputTensor(self.name, WIDEST, self.datatype),)

    @property
    def ends_at_one(self) -> bool:
        """A number has no end of its own."""
        return False

    @model_validator(mode="after")
    def _bands_rise(self) -> Self:
        ends = [band.below for band in self.bands or ()]
        inner = [end for end in ends[:-1] if end is not None]
        if ends and (ends[-1] is not None or len(inner) != len(ends) - 1):
            raise ValueError("every band but the last has below, the last has none")
        if any(left >= right for left, right in pairwise(inner)):
            raise ValueError(f"below must rise from band to band; it is {inner}")
        return self


class Segmentation(CardHead):
    """A label for every pixel, made into connected regions."""

    head: Literal["segmentation"]
    format: Literal["classes", "masks", "indices"] = "classes"
    """classes: a map for each label, the highest wins; masks: a map for each label, for itself; indices: one map of
    label numbers."""
    activation: Literal["softmax", "sigmoid", "none"] | None = None
    """Where absent softmax with classes, sigmoid with masks, none with indices."""
    layout: Literal["chw", "hwc"] = "chw"
    """Whether the labels are the first axis or the last."""
    background: Label | None = None
    """The label of `nothing here`, which is never a finding."""
    mask_threshold: Share = 0.5
    """Format masks: pixels at or above belong to the label; a defect with a lower threshold in force, down to that."""
    min_area: Annotated[int, Field(ge=1)] = 1
    """Smaller regions are left out, in pixels of the original image."""
    max_findings: Annotated[int, Field(ge=1, le=MAX_FINDINGS)] = 100
    """The most findings of one part; those that fail it come first."""

    def sizes(self, labels: int) -> Sizes:
        """Return height and width, and the labels where there is a map for each."""
        if self.format == "indices":
            return (None, None)
        return (labels, None, None) if self.layout == "chw" else (None, None, labels)

    def excluded(self) -> str | None:
        """Return the background."""
        return self.background

    @model_validator(mode="after")
    def _activation_of_format(self) -> Self:
        allowed = {"classes": {"softmax", "none"}, "masks": {"sigmoid", "none"}, "indices": {"none"}}[self.format]
        if self.activation is not None and self.activation not in allowed:
            raise ValueError(
                f"activation is {self.activation}; format {self.format} takes {' or '.join(sorted(allowed))}"
            )
        return self


class Anomaly(CardHead):
    """How unlike sound parts this one is: a map of it, one score, or both."""

    head: Literal["anomaly"]
    kind: Literal["map", "score"] = "map"
    """What the tensor `name` is: a map of the picture, or one score."""
    score: TensorName | None = None
    """With a map: the tensor of the score of the whole part; the map's highest value where absent."""
    range: tuple[float, float] | None = None
    """The raw values that become 0 and 1; what is beyond is cut. Values are taken as they are where absent."""
    min_area: Annotated[int, Field(ge=1)] = 1
    """Smaller regions are left out, in pixels of the original image."""
    max_findings: Annotated[int, Field(ge=1, le=MAX_FINDINGS)] = 100
    """The most findings of one part, highest first."""

    takes_one_label: ClassVar[bool] = True

    def tensors(self, labels: int) -> tuple[OutputTensor, ...]:
        """Return the map's tensor and the score's, whichever there are."""
        if self.kind == "score":
            return (OutputTensor(self.name, WIDEST, self.datatype),)
        own = super().tensors(labels)
        return own if self.score is None else (*own, OutputTensor(self.score, WIDEST))

    def sizes(self, labels: int) -> Sizes | None:
        """Return height and width of a map."""
        del labels
        return (None, None) if self.kind == "map" else None

    @property
    def ends_at_one(self) -> bool:
        """Only what is brought to 0 and 1 by `range`."""
        return self.range is not None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "score" and self.score is not None:
            raise ValueError("score: stands only with kind map")
        if self.score == self.name:
            raise ValueError(f"score is {self.score!r}, the tensor of the map")
        if self.range is not None and self.range[0] >= self.range[1]:
            raise ValueError(f"range is {list(self.range)}: the first number must be the lower")
        return self


class Raw(CardHead):
    """Numbers without a meaning here: the verdict is unknown, the scores show them."""

    head: Literal["raw"]

    @property
    def ends_at_one(self) -> bool:
        """It knows no thresholds."""
        return False


Head = Annotated[Classification | Score | Detection | Segmentation | Anomaly | Raw, Field(discriminator="head")]
