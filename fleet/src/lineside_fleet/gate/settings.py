"""What the gate asks of a staged version: the section `gate:` of a rollout file."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from lineside.settings import Section

MAX_LOOKS = 10
Share = Annotated[float, Field(gt=0, lt=1)]


class _Quantiles(Section):
    quantiles: tuple[Share, ...]

    @field_validator("quantiles", check_fields=False)
    @classmethod
    def _each_once(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or len(set(shares)) < len(shares) or len(shares) > 5:  # noqa: PLR2004 - each is one more proof owed
            raise ValueError(f"expected 1 to 5 different shares between 0 and 1, for instance [0.95] (got {shares})")
        return shares


class LatencySettings(_Quantiles):
    """Latency, from a request's arrival at the inference service to its answer."""

    quantiles: tuple[Share, ...] = Field((0.95,), description="Which quantiles are compared, as shares.")
    slower: float = Field(
        0.05, ge=0.001, le=10, description="By how much of itself each may become longer: 0.05 is 5 %."
    )


class ThroughputSettings(Section):
    """Parts a device and hour."""

    less: float = Field(0.10, ge=0.001, lt=1, description="By how much of itself it may fall: 0.1 is 10 %.")


class RateSettings(Section):
    """A share of parts: at most `ratio` times what it was, plus `allowance`."""

    ratio: float = Field(1.3, ge=1, le=100, description="What the share before is multiplied with.")
    allowance: float = Field(
        0.001, ge=0, lt=1, description="What is added to it: 0.001 is a tenth of a percent of the parts."
    )

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        if self.ratio == 1 and self.allowance == 0:
            raise ValueError(
                "ratio 1 and allowance 0 allow nothing, and that nothing changed can never be shown: "
                "give a ratio above 1 or an allowance above 0"
            )
        return self


class SlowSettings(RateSettings):
    """The share of parts that take longer than a limit, of those that were judged."""

    ms: float = Field(
        gt=0, le=3_600_000, description="The limit in ms: of a histogram one of its edges, as 30, 50 or 100."
    )


class UnsureSettings(RateSettings):
    """The share of parts of which the model is no surer than a limit."""

    upto: float = Field(ge=0, description="The limit, 0 to 1: of a histogram one of its edges, as 0.8 or 0.9.")
    ratio: float = Field(1.5, ge=1, le=100, description="What the share before is multiplied with.")
    allowance: float = Field(
        0.005, ge=0, lt=1, description="What is added to it: 0.005 is half a percent of the parts."
    )


class ConfidenceSettings(_Quantiles):
    """The model's confidence: a change either way is suspicious."""

    quantiles: tuple[Share, ...] = Field((0.1, 0.5), description="Which quantiles are compared, as shares.")
    shift: float = Field(0.05, ge=0.001, lt=1, description="By how much each may change, up or down.")


def _rate(ratio: float, allowance: float) -> RateSettings:
    return RateSettings(ratio=ratio, allowance=allowance)


class GateSettings(Section):
    """The gate between two stages. A metric that is null is not looked at."""

    latency: LatencySettings | None = Field(default_factory=LatencySettings, description="Latency's quantiles.")
    throughput: ThroughputSettings | None = Field(default_factory=ThroughputSettings, description="Parts an hour.")
    errors: RateSettings | None = Field(
        default_factory=RateSettings, description="Parts whose request failed or came too late, of all parts."
    )
    unknowns: RateSettings | None = Field(
        default_factory=RateSettings, description="Parts with verdict unknown, of all parts."
    )
    defects: RateSettings | None = Field(
        default_factory=lambda: _rate(1.5, 0.005), description="Parts with verdict fail, of those with pass or fail."
    )
    confidence: ConfidenceSettings | None = Field(
        default_factory=ConfidenceSettings, description="Quantiles of the model's confidence."
    )
    slow: SlowSettings | None = Field(
        None,
        description="Parts that take longer than a limit: what a histogram shows exactly, where its buckets are too "
        "wide for latency's quantiles.",
    )
    unsure: UnsureSettings | None = Field(
        None, description="Parts of which the model is no surer than a limit, more or fewer; the same for confidence."
    )
    looks: int = Field(
        3, ge=1, le=MAX_LOOKS, description="How often the data is looked at, at most; each look costs some of the risk."
    )
    false_promotion: float = Field(
        0.05, gt=0, le=0.2, description="Most probability that a version beyond a margin is promoted, over all looks."
    )
    false_stop: float = Field(
        0.05, gt=0, le=0.2, description="Most probability that a version within all margins is stopped, over all looks."
    )
    without_proof: Literal["hold", "stop"] = Field(
        "hold",
        description="The verdict of the last look where nothing is shown either way: hold leaves it to a person.",
    )
    parts: int = Field(1000, ge=1, description="Fewest parts of each side; with less no metric is judged.")
    devices: int = Field(
        6, ge=4, le=1000, description="Fewest devices of each side that can stand for the fleet, see the-gate.md."
    )
    interval: Literal["student", "bootstrap"] = Field(
        "student", description="How bounds of quantiles and throughput are made: Student's t, or bootstrap-t by device."
    )
    hours: Literal["match", "any"] = Field(
        "match", description="match: both windows must cover the same hours of the day; any: they need not."
    )
    seed: int = Field(1, ge=0, description="Of the bootstrap's random numbers; the result says it.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        rates = (self.errors, self.unknowns, self.defects, self.slow, self.unsure)
        if all(each is None for each in (self.latency, self.throughput, self.confidence, *rates)):
            raise ValueError("every metric is null: a gate that looks at nothing would let everything pass; keep one")
        return self
