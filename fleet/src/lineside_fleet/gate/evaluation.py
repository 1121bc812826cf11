"""What the gate found: the verdict, and of every metric the numbers that it rests on. Written as JSON as it is."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lineside.contract import Instant
from lineside.described import Described
from lineside_fleet.gate.comparison import Scale

Verdict = Literal["promote", "hold", "stop"]


class _Part(Described, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Look(_Part):
    """Which look at growing data this is."""

    number: Annotated[int, Field(ge=1)]
    """From 1 to the setting `looks`."""
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    """Which share of all the data there was at each look until this one; even steps where absent."""


class Problem(_Part):
    """Something that keeps the two sides from being compared."""

    code: str
    sentence: str


class Size(_Part):
    """What one side of a metric rests on."""

    devices: int
    values: int
    """Parts, or values, that were counted."""


class MetricEvaluation(_Part):
    """One metric, compared."""

    name: str
    verdict: Verdict
    """promote: shown to be within the margin; stop: shown to be beyond it; hold: neither, or not judged."""
    sentence: str
    code: str | None = None
    """Why it could not be judged, by a stable name; null where it was."""
    scale: Scale
    """How to read the figures: staged over baseline, staged less baseline, or a share of parts."""
    baseline: float | None = None
    staged: float | None = None
    """The figure of each side: ms, parts an hour, 0 to 1."""
    estimate: float | None = None
    """What is compared with what is allowed: a ratio, a difference, or the staged share."""
    low: float | None = None
    high: float | None = None
    """What the data allows the estimate to be: bounds at `level_stop` where it is stop, else at `level_promote`."""
    allowed_low: float | None = None
    allowed_high: float | None = None
    """What is allowed; null: any."""
    p_promote: float | None = None
    """The least level at which the metric is shown to be within the margin; to be at most `level_promote`."""
    p_stop: float | None = None
    """The least level at which it is shown to be beyond; to be at most `level_stop`."""
    level_promote: float
    level_stop: float
    """One-sided levels of this look, after spending over the looks and, for stop, over the metrics."""
    slack: float = 0.0
    """How far the bounds were moved for the source's resolution."""
    method: str = ""
    baseline_size: Size
    staged_size: Size


class Side(_Part):
    """One side's origin."""

    source: str
    versions: tuple[str, ...]
    start: Instant
    end: Instant
    devices: int
    parts: int
    remarks: tuple[str, ...] = ()


class Evaluation(_Part):
    """The gate's verdict on a staged version."""

    schema_: Literal["lineside/gate/1"] = Field(alias="schema", default="lineside/gate/1")
    verdict: Verdict
    sentence: str
    problems: tuple[Problem, ...] = ()
    """Why the sides cannot be compared at all; the verdict is hold where there is one."""
    look: Look
    looks: int
    metrics: tuple[MetricEvaluation, ...]
    design: str | None
    """pairs, groups or slices: see docs/explanation/the-gate.md; null where there is none."""
    interval: str
    seed: int
    baseline: Side
    staged: Side

    def of(self, verdict: Verdict) -> Sequence[MetricEvaluation]:
        """Return the metrics with this verdict."""
        return [metric for metric in self.metrics if metric.verdict == verdict]
