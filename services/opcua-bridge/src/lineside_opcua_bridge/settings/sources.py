"""What the inference service judges: a camera's frame, a file, a URL, or a window of tags."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.contract import NAME_PATTERN, Name
from lineside.settings import Section
from lineside_opcua_bridge.tags import TagText

MAX_SAMPLES = 4096
MAX_COLUMNS = 256
MAX_RATE_HZ = 1000.0


class CameraSourceSettings(Section):
    """The frame that a camera of the inference service shows."""

    kind: Literal["camera"] = Field(description="A camera's frame.")
    camera: Name = Field(description="Name of the camera in the inference service's settings.")


class FileSourceSettings(Section):
    """An image file that the machine writes over for every part."""

    kind: Literal["file"] = Field(description="An image file.")
    path: str = Field(min_length=1, max_length=1024, description="Path below an allowed root of the inference service.")


class UrlSourceSettings(Section):
    """An image fetched over HTTP."""

    kind: Literal["url"] = Field(description="An image at a URL.")
    url: str = Field(min_length=1, max_length=2048, description="URL at an allowed host of the inference service.")


class WindowTag(Section):
    """One column of a window, and how the plant's number becomes the model's: value * scale + offset."""

    node: TagText = Field(description="Number that is sampled.")
    unit: str | None = Field(
        None, min_length=1, max_length=32, description="Unit after scaling; compared with the one on the model's card."
    )
    scale: float = Field(1.0, description="The value is multiplied by this first.")
    offset: float = Field(0.0, description="This is added then.")


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
        description="What stands between two values: the earlier one, a straight line, or nothing (no window with a "
        "gap longer than max_gap_ms is judged; shorter ones are held).",
    )
    max_gap_ms: float | None = Field(
        None, gt=0, description="Longest time without a value, whatever `gaps` says; else three sample periods."
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

    def columns(self) -> dict[str, WindowTag]:
        """Return the tags by column, the short form made whole."""
        return {
            name: WindowTag.model_validate({"node": tag}) if isinstance(tag, str) else tag
            for name, tag in self.tags.items()
        }


SourceSettings = Annotated[
    CameraSourceSettings | FileSourceSettings | UrlSourceSettings | WindowSourceSettings, Field(discriminator="kind")
]
