"""The model card: what a model takes, how its output is read, and how it was made; `card.yaml` in its folder."""

import math
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from lineside.contract import Datatype, Name, Threshold
from lineside_inference.models.head import CardPart, Label, OutputTensor, describe, unlike
from lineside_inference.models.heads import Head

CARD_SCHEMA = "lineside/card/1"
DEFAULT_THRESHOLD = 0.5
"""Used where neither policy nor card names a threshold."""


def _below_the_model(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("must be a path below the model's folder, without '..'")
    return path


class ImagePreparation(CardPart):
    """How a picture becomes the input: value = (pixel * scale - mean) / std, pixel 0 to 255."""

    width: Annotated[int, Field(ge=1, le=16_384)]
    """Of the input, in pixels."""
    height: Annotated[int, Field(ge=1, le=16_384)]
    """Of the input, in pixels."""
    fit: Literal["stretch", "letterbox"] = "stretch"
    """stretch: to the whole input; letterbox: as it is, in the middle, with grey 114 beside it."""
    interpolation: Literal["area", "linear"] = "area"
    """area averages, and lets large JPEGs be decoded smaller; linear where the model was trained so."""
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    """The order of the channels."""
    layout: Literal["chw", "hwc"] = "chw"
    """Whether the channels are the first axis or the last."""
    scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor of a pixel, for instance 0.00392156862745098 for 1/255."""
    mean: tuple[float, ...] = ()
    """A number each channel, in the order of `colour`; 0 where absent."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """A number each channel, in the order of `colour`; 1 where absent."""

    significant_bits: Annotated[int, Field(ge=8, le=16)] | None = None
    """Of a picture of 16 bits a value, where neither its file nor its camera says it; 16 where it fills them all."""

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.colour == "gray" else 3

    @property
    def is_plain(self) -> bool:
        """Whether the values are the pixels themselves."""
        return self.scale == 1 and not any(self.mean) and all(one == 1 for one in self.std)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape that this preparation makes."""
        if self.layout == "chw":
            return (self.channels, self.height, self.width)
        return (self.height, self.width, self.channels)

    @model_validator(mode="after")
    def _one_number_a_channel(self) -> Self:
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values and len(values) != self.channels:
                raise ValueError(f"{name} has {len(values)} numbers; colour {self.colour} needs {self.channels}")
        return self


class CardInput(CardPart):
    """The model's one input; `shape` without the batch dimension."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name in the model."""
    kind: Literal["image", "tensor"]
    """image: made of a picture; tensor: numbers, given in the request."""
    datatype: Datatype
    """As the model has it; FP32, FP16 or UINT8 with kind image."""
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=16)]
    """Without the batch dimension; with kind image what `image` makes."""
    columns: Annotated[tuple[str, ...], AfterValidator(unlike)] | None = None
    """What the last axis is, name by name; a request that names its columns too has them put in this order."""
    units: tuple[Annotated[str, Field(min_length=1, max_length=32)] | None, ...] | None = None
    """The unit of each column, null for none; a request in another unit is refused."""
    image: ImagePreparation | None = None
    """How a picture becomes the input; with kind image."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "image":
            self._fits_image()
        elif self.image is not None:
            raise ValueError("image: stands only with kind image")
        if self.columns is not None and len(self.columns) != self.shape[-1]:
            raise ValueError(f"columns has {len(self.columns)} names; the last axis of shape is {self.shape[-1]}")
        if self.units is not None and (self.columns is None or len(self.units) != len(self.columns)):
            raise ValueError("units needs columns, and one unit or null for each")
        if math.prod(self.shape) > 2**28:
            raise ValueError(f"shape {list(self.shape)} has more than 2^28 values")
        return self

    def _fits_image(self) -> None:
        if self.image is None:
            raise ValueError("image: must be given with kind image")
        if self.datatype not in {"FP32", "FP16", "UINT8"}:
            raise ValueError(f"datatype is {self.datatype}; kind image takes FP32, FP16 or UINT8")
        if self.datatype == "UINT8" and not self.image.is_plain:
            raise ValueError(
                "datatype is UINT8: the model takes the pixels as they are, leave scale, mean and std away"
            )
        if self.shape != self.image.shape:
            raise ValueError(f"shape is {list(self.shape)}; image makes {list(self.image.shape)}")


class CardFile(CardPart):
    """One file of the model, relative to its folder; `variant` names the hardware that it is for."""

    path: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_below_the_model)]
    """Below the model's folder."""
    variant: Annotated[str, Field(min_length=1, max_length=128)] = "any"
    """any, or conditions joined by `;` that must all hold: gpu=Orin NX, cc=8.7, trt=10.3, jetpack=6, arch=aarch64."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Its checksum, in lower-case hexadecimal digits."""


class Card(CardPart):
    """What a model is: its input, its outputs, its labels, its files, and how it was made and scored."""

    schema_: Literal["lineside/card/1"] = Field(alias="schema")
    """Which version of the card it is."""
    name: Name
    """The model's name, and that of its folder."""
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
    """The version that the card is about, and the folder of its file."""
    description: str
    """What it does, in a sentence."""
    task: Literal["classification", "detection", "segmentation", "anomaly", "tabular", "raw"]
    """What it is for, in a word; how it is read stands in the heads."""
    input: CardInput
    """What it takes."""
    output: Head | None = None
    """How its answer is read: one head. Either this or `outputs`."""
    outputs: Annotated[tuple[Head, ...], Field(min_length=1, max_length=16)] | None = None
    """Several heads; the worst verdict counts, fail before unknown before pass."""
    labels: Annotated[tuple[Label, ...], Field(max_length=10_000), AfterValidator(unlike)] = ()
    """Names of what the model tells apart, in the order of its output; needed with every head but raw."""
    defects: Annotated[tuple[Label, ...], AfterValidator(unlike)] = ()
    """The labels that fail a part."""
    thresholds: dict[Label, Threshold] = Field(default_factory=dict)
    """By label; `default` for the others, 0.5 where that is absent. The policy's come before them. 0 to 1, unless a
    head's scores have no end: head score, and head anomaly without `range`."""
    files: Annotated[tuple[CardFile, ...], Field(min_length=1, max_length=256)]
    """Every file of the model with its SHA-256; one that differs is not loaded."""
    licence: str
    """Under which it may be used."""
    made: dict[str, str] = Field(default_factory=dict)
    """How it was made: script, data, seeds."""
    scores: dict[str, float] = Field(default_factory=dict)
    """How it did on data that it had not seen."""

    @property
    def heads(self) -> tuple[Head, ...]:
        """How the outputs are read: `outputs`, or the one `output`."""
        return self.outputs or ((self.output,) if self.output else ())

    def labels_of(self, head: Head) -> tuple[str, ...]:
        """Return the labels of a head, in the order of its output."""
        return head.labels or self.labels

    def out_of_reach(self, thresholds: Mapping[str, float]) -> list[str]:
        """Return the thresholds that no score can reach, each in a sentence; given by label, or as `default`.

        A part would never fail by them: 60 where 0.60 was meant. Scores that are no shares may have any threshold.
        """
        ends = {
            label
            for head in self.heads
            if head.ends_at_one
            for label in self.labels_of(head)
            if label != head.excluded()
        }
        wrong = {label: value for label, value in thresholds.items() if value > 1 and label in ends}
        others = sorted(ends - set(thresholds))
        if thresholds.get("default", 0) > 1 and others:
            wrong["default"] = thresholds["default"]
        return [
            f"thresholds.{name}: {value:g} is never reached, for model {self.name!r} scores "
            f"{(others[0] if name == 'default' else name)!r} from 0 to 1. {_percent(value)}"
            for name, value in wrong.items()
        ]

    @property
    def tensors(self) -> tuple[OutputTensor, ...]:
        """The tensors that the heads read, each once."""
        found: dict[str, OutputTensor] = {}
        for head in self.heads:
            for tensor in head.tensors(len(self.labels_of(head))):
                known = found.setdefault(tensor.name, tensor)
                if known.room is None or (tensor.room or 0) > known.room:
                    found[tensor.name] = tensor
        return tuple(found.values())

    @model_validator(mode="after")
    def _outputs_are_named_once(self) -> Self:
        if (self.output is None) == (self.outputs is None):
            raise ValueError("give either output, one head, or outputs, a list of them")
        return self

    @model_validator(mode="after")
    def _names_are_labels(self) -> Self:
        for head in self.heads:
            names = self.labels_of(head)
            if not names and head.head != "raw":
                raise ValueError(f"labels: must be given with head {head.head}")
            if head.takes_one_label and len(names) != 1:
                raise ValueError(f"labels has {len(names)} names; head {head.head} takes one, the finding's")
            own = head.tensors(len(names))[0]
            if head.shape is not None and not own.takes(head.shape):
                raise ValueError(
                    f"shape of {head.name!r} is {list(head.shape)}; head {head.head} reads {describe(own.sizes)}"
                )
            _known("labels of a head", names, self.labels)
            if head.excluded() is not None:
                _known("background", (str(head.excluded()),), names)
                if head.excluded() in self.defects:
                    raise ValueError(f"background {head.excluded()!r} is a defect")
        _known("defects", self.defects, self.labels)
        _known("thresholds", set(self.thresholds) - {"default"}, self.labels)
        if wrong := self.out_of_reach(self.thresholds):
            raise ValueError("; ".join(wrong))
        return self


def _percent(value: float) -> str:
    return f"For {value:g} % give {value / 100:g}" if value <= 100 else "Give at most 1"  # noqa: PLR2004 - of a hundred


def _known(field: str, names: Collection[str], labels: tuple[str, ...]) -> None:
    strange = sorted(set(names) - set(labels))
    if strange:
        raise ValueError(f"{field} names {strange[0]!r}; labels are {', '.join(labels)}")
