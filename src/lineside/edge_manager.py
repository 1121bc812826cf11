"""Section `edge_manager`: the settings of SageMaker Edge Manager's data capture, by its own names and defaults.

Values come as that component took them: numbers and booleans also as strings. Source: the component's public
documentation, "SageMaker Edge Manager", configuration.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from lineside.settings import Section

EMBED_LIMIT = 3072
"""Largest tensor, in bytes, that Edge Manager put into a record itself; its default and its maximum."""


def _whole(value: Any) -> Any:
    """Take 10, 10.0 and "10" for the same number."""
    if isinstance(value, str) and value.strip().removesuffix(".0").isdecimal():
        return int(value.strip().removesuffix(".0"))
    return value


def _either(value: Any) -> Any:
    """Take true and "true" for the same."""
    if isinstance(value, str) and value.strip().lower() in {"true", "false"}:
        return value.strip().lower() == "true"
    return value


def _destination(value: Any) -> Any:
    return value.strip().capitalize() if isinstance(value, str) else value


Whole = Annotated[int, BeforeValidator(_whole)]
Either = Annotated[bool, BeforeValidator(_either)]


class EdgeManagerSettings(Section):
    """Data capture, by the names of SageMaker Edge Manager."""

    DeviceFleetName: Annotated[str, Field(pattern=r"^[a-zA-Z0-9](-*_*[a-zA-Z0-9])*$", max_length=63)] = Field(
        "lineside", description="The fleet: a folder of every path, and in every record."
    )
    BucketName: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = Field(
        None, description="S3 bucket; needed with destination Cloud, and with CaptureDataPeriodicUpload."
    )
    CaptureDataDestination: Annotated[Literal["Cloud", "Disk"], BeforeValidator(_destination)] = Field(
        "Cloud", description="Where captures go: Cloud, the bucket; Disk, below CaptureDataDiskPath."
    )
    CaptureDataDiskPath: Path | None = Field(
        None, description="Disk: the folder in which FolderPrefix is made; must be absolute."
    )
    CaptureDataPeriodicUpload: Either = Field(
        default=False, description="Disk: whether what was written there is uploaded to the bucket too."
    )
    CaptureDataPeriodicUploadPeriodSeconds: Whole = Field(
        8, ge=1, le=86_400, description="Seconds between such uploads."
    )
    CaptureDataBatchSize: Whole = Field(
        10, ge=1, le=100_000, description="Captures of one model that make a batch: one file, a capture a line."
    )
    CaptureDataBufferSize: Whole = Field(
        30, ge=1, le=100_000, description="With strict: undelivered captures above which one more is refused."
    )
    CaptureDataPushPeriodSeconds: Whole = Field(
        4, ge=1, le=86_400, description="Seconds after which a batch leaves that is not full."
    )
    CaptureDataBase64EmbedLimit: Whole = Field(
        EMBED_LIMIT,
        ge=1,
        le=1024 * 1024,
        description="Largest tensor or image, in bytes, that stands in the record itself; "
        "a larger one is an object of its own.",
    )
    FolderPrefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.=-]+(/[A-Za-z0-9_.=-]+)*)?$", max_length=512)] = Field(
        "sme-capture", description="First folders of every path; may be empty."
    )
    SagemakerEdgeLogVerbose: Either = Field(
        default=False, description="true: the forwarder logs as with log.level debug."
    )
    text_as_base64: bool = Field(
        default=False,
        description="Write the JSON and CSV of a record as base64 with encoding BASE64, for readers that decode "
        "whatever stands in data; else as text, with encoding JSON or CSV.",
    )
    strict: bool = Field(
        default=False,
        description="Behave as the agent did: with destination Cloud and no network a capture is refused instead of "
        "kept, one more than CaptureDataBufferSize too, and the embed limit is at most 3072.",
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if ".." in self.FolderPrefix.split("/") or "." in self.FolderPrefix.split("/"):
            raise ValueError("FolderPrefix: `.` and `..` are no folders")
        if self.CaptureDataDiskPath is not None and not self.CaptureDataDiskPath.is_absolute():
            raise ValueError(f"CaptureDataDiskPath: must be absolute (got {str(self.CaptureDataDiskPath)!r})")
        if self.CaptureDataBatchSize > self.CaptureDataBufferSize:
            raise ValueError(
                f"CaptureDataBatchSize is {self.CaptureDataBatchSize}: must be less than CaptureDataBufferSize, "
                f"{self.CaptureDataBufferSize}"
            )
        return self

    @property
    def embed_limit(self) -> int:
        """Largest bytes that stand in a record itself."""
        return min(self.CaptureDataBase64EmbedLimit, EMBED_LIMIT) if self.strict else self.CaptureDataBase64EmbedLimit
