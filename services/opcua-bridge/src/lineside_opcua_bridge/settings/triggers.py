"""When an inference is asked for: the kinds of triggers, and the conditions that hold them back."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lineside.contract import NAME_PATTERN
from lineside.settings import Section
from lineside_opcua_bridge.tags import TagText, WholeNodeText

MAX_MS = 3_600_000.0
"""An hour: the longest debounce, interval or period."""

Plain = bool | int | float | str


class EdgeTrigger(Section):
    """A Boolean that rises (a part is in place) or falls."""

    kind: Literal["edge"] = Field(description="The edge of a Boolean.")
    node: TagText = Field(description="Boolean whose edge is the trigger.")
    edge: Literal["rising", "falling"] = Field("rising", description="Which edge.")


class ChangeTrigger(Section):
    """Any change of a value, for instance of a part's id."""

    kind: Literal["change"] = Field(description="Any change of a value.")
    node: TagText = Field(description="Scalar whose change is the trigger.")


class LimitTrigger(Section):
    """A number crosses a limit; it must come back by the hysteresis before it can cross again."""

    kind: Literal["limit"] = Field(description="A number crosses a limit.")
    node: TagText = Field(description="Number that is compared.")
    above: float | None = Field(None, description="Triggers when the value becomes greater than this.")
    below: float | None = Field(None, description="Triggers when the value becomes less than this.")
    hysteresis: float = Field(
        0.0, ge=0, description="How far it must come back inside the limit before it counts as inside again."
    )

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give exactly one of above and below")
        return self


class CounterTrigger(Section):
    """A whole number that goes up by one with every part."""

    kind: Literal["counter"] = Field(description="A counter goes up.")
    node: TagText = Field(description="Integer that counts parts; going up by more than one means parts were missed.")
    wraps_at: int | None = Field(
        None, ge=1, description="Largest value, after which it goes on from 0; else going down is a reset."
    )


class PeriodTrigger(Section):
    """The clock, without a signal."""

    kind: Literal["period"] = Field(description="Every so many milliseconds.")
    every_ms: float = Field(ge=10, le=MAX_MS, description="Milliseconds from one trigger to the next.")


class EventTrigger(Section):
    """An OPC UA event of a type, or of one derived from it."""

    kind: Literal["event"] = Field(description="An OPC UA event.")
    node: WholeNodeText = Field("i=2253", description="Object that notifies of the event; i=2253 is the server.")
    event_type: WholeNodeText = Field("i=2041", description="Type of event; i=2041 is every one.")
    min_severity: int = Field(1, ge=1, le=1000, description="Least severity, 1 to 1000.")
    source_name: str | None = Field(None, max_length=256, description="Only events with this SourceName.")
    fields: dict[Annotated[str, Field(pattern=NAME_PATTERN)], str] = Field(
        default_factory=dict,
        max_length=32,
        description="Fields of the event that travel as tags, by name: a browse name such as Message, or a path of "
        "them joined by `/`; `part_id` identifies the part.",
    )


class WindowTrigger(Section):
    """The source's window of samples is complete; `source.kind` must be window."""

    kind: Literal["window"] = Field(description="A window of samples is complete.")
    stride: int | None = Field(
        None, ge=1, le=65536, description="Samples from one window's end to the next one's; else a window's own length."
    )


When = Annotated[
    EdgeTrigger | ChangeTrigger | LimitTrigger | CounterTrigger | PeriodTrigger | EventTrigger | WindowTrigger,
    Field(discriminator="kind"),
]


class Condition(Section):
    """What another tag must be for the trigger to count; a tag of bad quality fulfils nothing."""

    node: TagText = Field(description="The other tag.")
    equals: Plain | None = Field(None, description="It has this value.")
    not_equals: Plain | None = Field(None, description="It has another value than this.")
    above: float | None = Field(None, description="It is greater than this.")
    below: float | None = Field(None, description="It is less than this.")

    @model_validator(mode="after")
    def _one_comparison_at_least(self) -> Self:
        if all(bound is None for bound in (self.equals, self.not_equals, self.above, self.below)):
            raise ValueError("give at least one of equals, not_equals, above and below")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"nothing is above {self.above:g} and below {self.below:g}")
        if self.equals is not None and self.equals == self.not_equals:
            raise ValueError(f"nothing is {self.equals!r} and other than {self.equals!r}")
        return self
