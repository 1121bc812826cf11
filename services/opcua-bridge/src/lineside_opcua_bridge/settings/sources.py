"""What the inference service judges: a camera's frame, a file, a URL, or a window of tags."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lineside.contract import NAME_PATTERN, Name
from lineside.settings import Section
from lineside_opcua_bridge.tags import TagText

MAX_SAMPLES = 4096
MAX_COLUMNS = 256
MAX_RATE_HZ = 1000.0

_GAP_PERIODS = 3
_LEAST_VALUE_BYTES = 4
"""Of one value in JSON with its comma: most have five to nine, a tag that counts or rests at a round number fewer."""
_ENVELOPE_BYTES = 400
"""Of a request around its values: ids, names, four timestamps."""
_QUOTED = 6
"""Bytes around the name of a column and its unit."""


class CameraSourceSettings(Section):
    """The frame that a camera of the inference service shows."""

    kind: Literal["camera"] = Field(description="A camera's frame.")
    camera: Name = Field(description="Name of the camera in the inference service's settings.")


class FileSourceSettings(Section):
    """An image file that the machine writes over for every part."""

    kind: Literal["file"] = Field(description="An image file.")
    path: str = Field(min_length=1, max_length=1024, description="Path below an allowed root of the inference service.")
    content_type: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Of a file of raw pixels: application/x-pfnc; format=<name>; width=<pixels>; height=<rows>.",
    )


class UrlSourceSettings(Section):
    """An image fetched over HTTP."""

    kind: Literal["url"] = Field(description="An image at a URL.")
    url: str = Field(min_length=1, max_length=2048, description="URL at an allowed host of the inference service.")

    @field_validator("url")
    @classmethod
    def _without_a_password(cls, url: str) -> str:
        if "@" in url.partition("//")[2].partition("/")[0]:
            raise ValueError("has a user name or password in it: settings files are no place for secrets")
        return url


class WindowTag(Section):
    """One column of a window, and how the plant's number becomes the model's: value * scale + offset."""

    node: TagText = Field(description="Number that is sampled.")
    unit: str | None = Field(
        None, min_length=1, max_length=32, description="Unit after scaling; compared with the one on the model's card."
    )
    scale: float = Field(1.0, description="The value is multiplied by this first; not 0.")
    offset: float = Field(0.0, description="This is added then.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.scale == 0:
            raise ValueError("scale is 0: the column would be the same whatever the tag's value is")
        return self


class WindowSourceSettings(Section):
    """The last `samples` samples of some tags at a fixed rate, as one tensor of shape [samples, tags]."""

    kind: Literal["window"] = Field(description="A window of tags.")
    input: str = Field(min_length=1, max_length=256, description="Name of the model's input.")
    tags: dict[Annotated[str, Field(pattern=NAME_PATTERN)], WindowTag | TagText] = Field(
        min_length=1,
        max_length=MAX_COLUMNS,
        description="The columns by the names that the model's card gives them; the card says their order.",
    )
    rate_hz: float = Field(gt=0, le=MAX_RATE_HZ, description="Samples a second that the model expects.")
    samples: int = Field(ge=1, le=MAX_SAMPLES, description="Samples in a window.")
    gaps: Literal["hold", "linear", "refuse"] = Field(
        "hold",
        description="What stands where the value is not known, because values were lost or are bad: the earlier one, "
        "or a straight line. A tag that rests is no gap, except with refuse, where every silence longer than "
        "max_gap_ms is one and shorter ones are held.",
    )
    max_gap_ms: float | None = Field(
        None, gt=0, description="Longest gap that is filled, whatever `gaps` says; else three sample periods."
    )
    bad: Literal["gap", "refuse"] = Field(
        "gap", description="A value of bad quality counts as a gap, or makes the window unusable."
    )
    datatype: Literal["FP32", "FP64"] = Field("FP32", description="Datatype of the tensor.")

    @model_validator(mode="after")
    def _no_tag_twice(self) -> Self:
        nodes = [tag if isinstance(tag, str) else tag.node for tag in self.tags.values()]
        if twice := sorted({node for node in nodes if nodes.count(node) > 1}):
            raise ValueError(f"tags are given for more than one column: {', '.join(twice)}")
        return self

    def longest_gap_ms(self) -> float:
        """Return the longest gap that is filled, in milliseconds."""
        return self.max_gap_ms if self.max_gap_ms is not None else _GAP_PERIODS * 1000 / self.rate_hz

    def check_fits(self, limit: int) -> None:
        """Raise ValueError where not even a window of short numbers fits a message of `limit` bytes."""
        values = self.samples * len(self.tags)
        names = sum(len(name) + _QUOTED + len(tag.unit or "") for name, tag in self.columns().items())
        least = values * _LEAST_VALUE_BYTES + names + _ENVELOPE_BYTES
        if least > limit:
            raise ValueError(
                f"{self.samples} samples of {len(self.tags)} tags are {values} values and need a message of at least "
                f"{least} bytes; bus.max_message_bytes is {limit}: give fewer samples at a lower rate_hz, or fewer "
                "tags, or raise the limit where the broker allows it"
            )

    def columns(self) -> dict[str, WindowTag]:
        """Return the tags by column, the short form made whole."""
        return {
            name: WindowTag.model_validate({"node": tag}) if isinstance(tag, str) else tag
            for name, tag in self.tags.items()
        }


SourceSettings = Annotated[
    CameraSourceSettings | FileSourceSettings | UrlSourceSettings | WindowSourceSettings, Field(discriminator="kind")
]
