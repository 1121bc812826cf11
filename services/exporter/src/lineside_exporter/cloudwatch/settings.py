"""Settings of the reports to CloudWatch: `exporter.cloudwatch`."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from lineside.addresses import EndpointUrl
from lineside.settings import Section, Topic


class _CloudWatchSettings(Section):
    """What both senders have."""

    namespace: str = Field(
        "Lineside",
        min_length=1,
        max_length=255,
        pattern=r"^[A-Za-z0-9._/#:-][A-Za-z0-9._/#: -]*$",
        description="Namespace of the metrics; it cannot begin AWS/.",
    )
    period_s: float = Field(
        60.0, ge=1, le=3600, description="Seconds that are aggregated to one set of figures; CloudWatch keeps minutes."
    )
    max_series: int = Field(
        50, ge=1, le=500, description="Most pairs of station and model; each costs custom metrics. More are not sent."
    )
    keep_periods: int = Field(
        60, ge=1, le=2000, description="Periods that wait while CloudWatch is away; the oldest goes first."
    )

    @field_validator("namespace")
    @classmethod
    def _is_ours(cls, name: str) -> str:
        if name.upper().startswith("AWS/"):
            raise ValueError(f"{name!r} begins AWS/, which is kept for AWS's own metrics; choose another")
        return name


class PutMetricDataSettings(_CloudWatchSettings):
    """CloudWatch's own API, with whole distributions: percentiles work there."""

    kind: Literal["put-metric-data"] = "put-metric-data"
    region: str | None = Field(
        None, pattern=r"^[a-z0-9-]+$", description="Region; AWS_REGION or AWS_DEFAULT_REGION where absent."
    )
    endpoint_url: EndpointUrl | None = Field(
        None, description="Address of the API, for a private endpoint; AWS's own where absent."
    )
    timeout_s: float = Field(10.0, gt=0, le=60, description="Longest silence of CloudWatch before it counts as away.")


class GreengrassSettings(_CloudWatchSettings):
    """Greengrass' component aws.greengrass.Cloudwatch, which takes one figure a message: no distributions."""

    kind: Literal["greengrass"] = "greengrass"
    topic: Topic = Field(
        "cloudwatch/metric/put", description="Topic that the component reads; what became of it comes on <this>/status."
    )
    timeout_s: float = Field(10.0, gt=0, le=60, description="Longest wait for the broker to take a message.")


CloudWatchSettings = Annotated[PutMetricDataSettings | GreengrassSettings, Field(discriminator="kind")]
