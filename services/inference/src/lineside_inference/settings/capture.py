"""Section `inference.capture`: how evidence is taken in this service; which parts are kept is the policy's."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from lineside.contract import Name
from lineside.settings import Section

MIB = 1024 * 1024

Share = Annotated[float, Field(ge=0, le=1)]
Rectangle = tuple[Share, Share, Share, Share]
"""x0, y0, x1, y1 in shares of the picture's width and height."""


class CaptureSettings(Section):
    """How evidence is taken; which parts are kept is the policy's, where it waits is section spool's."""

    queue: int = Field(64, ge=1, le=10_000, description="Captures on their way to the disk; one more is dropped.")
    queue_bytes: int = Field(128 * MIB, ge=MIB, description="Most memory of the captures on their way to the disk.")
    wait_ms: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="Longest time that an answer waits for its evidence to be on the disk, so that it can name it in "
        "evidence_id; the deadline shortens it. 0: a verdict waits for no disk. The capture goes on all the same, and "
        "GET /v1/capture/<request id> says what became of it.",
    )
    masks: dict[Annotated[str, Field(min_length=1, max_length=128)], tuple[Rectangle, ...]] = Field(
        default_factory=dict,
        description="By camera or station: rectangles [x0, y0, x1, y1] in shares of the picture, 0 to 1, that are "
        "blacked out in what is kept.",
    )
    models: tuple[Name, ...] = Field(
        (), description="Models beside those of the repository for which clients may capture."
    )

    @model_validator(mode="after")
    def _rectangles_have_an_inside(self) -> Self:
        for name, rectangles in self.masks.items():
            for x0, y0, x1, y1 in rectangles:
                if x0 >= x1 or y0 >= y1:
                    raise ValueError(
                        f"masks.{name}: [{x0:g}, {y0:g}, {x1:g}, {y1:g}] is empty: give x0 < x1 and y0 < y1"
                    )
        return self
