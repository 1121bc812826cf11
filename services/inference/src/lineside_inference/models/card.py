"""The model card: what a model takes, how its output is read, and how it was made; `card.yaml` in its folder."""

import math
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from lineside.contract import Datatype, Name, Threshold

CARD_SCHEMA = "lineside/card/1"
DEFAULT_THRESHOLD = 0.5
"""Used where neither policy nor card names a threshold."""

Label = Annotated[str, Field(min_length=1, max_length=128)]


def _below_the_model(path: str) -> str:
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError("must be a path below the model's folder, without '..'")
    return path


def _unlike(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("the same name stands twice")
    return names


class CardPart(BaseModel):
    """Base of every part of a card: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ImagePreparation(CardPart):
    """How a picture becomes the input: value = (pixel * scale - mean) / std, pixel 0 to 255."""

    width: Annotated[int, Field(ge=1, le=16_384)]
    height: Annotated[int, Field(ge=1, le=16_384)]
    fit: Literal["stretch", "letterbox"] = "stretch"
    interpolation: Literal["area", "linear"] = "area"
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    layout: Literal["chw", "hwc"] = "chw"
    scale: Annotated[float, Field(gt=0)] = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()

    @property
    def channels(self) -> int:
        """1 for gray, else 3."""
        return 1 if self.colour == "gray" else 3

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
    kind: Literal["image", "tensor"]
    datatype: Datatype
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=16)]
    columns: Annotated[tuple[str, ...], AfterValidator(_unlike)] | None = None
    image: ImagePreparation | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "image":
            self._fits_image()
        elif self.image is not None:
            raise ValueError("image: stands only with kind image")
        if self.columns is not None and len(self.columns) != self.shape[-1]:
            raise ValueError(f"columns has {len(self.columns)} names; the last axis of shape is {self.shape[-1]}")
        if math.prod(self.shape) > 2**28:
            raise ValueError(f"shape {list(self.shape)} has more than 2^28 values")
        return self

    def _fits_image(self) -> None:
        if self.image is None:
            raise ValueError("image: must be given with kind image")
        if self.datatype not in {"FP32", "FP16"}:
            raise ValueError(f"datatype is {self.datatype}; kind image takes FP32 or FP16")
        if self.shape != self.image.shape:
            raise ValueError(f"shape is {list(self.shape)}; image makes {list(self.image.shape)}")


class CardOutput(CardPart):
    """The model's one output and how it is read."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    head: Literal["classification", "score"]
    activation: Literal["softmax", "sigmoid", "none"] | None = None

    @model_validator(mode="after")
    def _activation_of_classification(self) -> Self:
        if self.head == "score" and self.activation is not None:
            raise ValueError("activation: stands only with head classification")
        return self


class CardFile(CardPart):
    """One file of the model, relative to its folder; `variant` names the hardware that it is for."""

    path: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_below_the_model)]
    variant: Annotated[str, Field(min_length=1, max_length=128)] = "any"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Card(CardPart):
    """What a model is: its input, its output, its labels, its files, and how it was made and scored."""

    schema_: Literal["lineside/card/1"] = Field(alias="schema")
    name: Name
    version: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,17}$")]
    description: str
    task: Literal["classification", "tabular"]
    input: CardInput
    output: CardOutput
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=10_000), AfterValidator(_unlike)]
    defects: Annotated[tuple[Label, ...], AfterValidator(_unlike)] = ()
    thresholds: dict[Label, Threshold] = {}
    files: Annotated[tuple[CardFile, ...], Field(min_length=1, max_length=256)]
    licence: str
    made: dict[str, str] = {}
    scores: dict[str, float] = {}

    @model_validator(mode="after")
    def _names_are_labels(self) -> Self:
        if self.output.head == "score" and len(self.labels) != 1:
            raise ValueError(f"labels has {len(self.labels)} names; head score takes one, the finding's")
        for field, names in (("defects", self.defects), ("thresholds", self.thresholds)):
            strange = sorted(set(names) - set(self.labels) - ({"default"} if field == "thresholds" else set()))
            if strange:
                raise ValueError(f"{field} names {strange[0]!r}; labels are {', '.join(self.labels)}")
        return self
