"""Settings of the forwarder: section `forwarder`, and the shared sections `spool` and `edge_manager`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

import lineside.settings
from lineside.contract import Name
from lineside.edge_manager import EdgeManagerSettings
from lineside.settings import HttpSettings, Section
from lineside.spool.settings import MIB, SpoolSettings


class DestinationSettings(Section):
    """What every destination has."""

    name: Name = Field(description="Name in logs, metrics and the spool's progress; unique, and kept over changes.")


class DiskSettings(DestinationSettings):
    """A folder: every batch a file, every large tensor or image a file beside it."""

    kind: Literal["disk"] = "disk"
    path: Path = Field(description="Folder in which edge_manager.FolderPrefix is made; must be absolute.")


class S3Settings(DestinationSettings):
    """A bucket of S3, or of a store that speaks its protocol."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(min_length=3, max_length=63, description="The bucket.")
    region: str | None = Field(None, description="Region; AWS_REGION where absent.")
    endpoint_url: str | None = Field(None, description="Address of an S3-compatible store; AWS's own where absent.")
    encryption: Literal["none", "sse-s3", "sse-kms"] = Field("none", description="Encryption that is asked for.")
    kms_key_id: str | None = Field(None, description="sse-kms: the key; the bucket's own where absent.")
    multipart_bytes: int = Field(
        8 * MIB, ge=5 * MIB, le=5120 * MIB, description="Above this an object goes in parts of this size."
    )
    timeout_s: float = Field(30.0, gt=0, le=600, description="Longest wait for an answer of the store.")


class StreamManagerSettings(DestinationSettings):
    """AWS Greengrass Stream Manager, which exports the files to S3."""

    kind: Literal["stream-manager"] = "stream-manager"
    bucket: str = Field(min_length=3, max_length=63, description="The bucket that Stream Manager exports to.")
    stream: str = Field(
        "lineside-evidence", pattern=r"^[A-Za-z0-9_ ,.-]+$", max_length=255, description="Name of the stream."
    )
    path: Path = Field(
        description="Folder for the files until they are exported; the same path here and for Stream Manager."
    )


Destination = Annotated[DiskSettings | S3Settings | StreamManagerSettings, Field(discriminator="kind")]


class ForwarderSettings(Section):
    """The forwarder."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=8083), description="Health and metrics of the forwarder."
    )
    destinations: tuple[Destination, ...] = Field(
        (), description="Where evidence goes, each with its own progress; empty: as section edge_manager says."
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [destination.name for destination in self.destinations]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"destinations: name {name!r} is given twice")
        return self


class Settings(lineside.settings.Settings):
    """What the forwarder reads."""

    section: ClassVar[str] = "forwarder"

    spool: SpoolSettings = Field(
        default_factory=lambda: SpoolSettings.model_validate({}), description="Where evidence waits on this box."
    )
    edge_manager: EdgeManagerSettings = Field(
        default_factory=lambda: EdgeManagerSettings.model_validate({}),
        description="Data capture, by the names of SageMaker Edge Manager.",
    )
    forwarder: ForwarderSettings = Field(
        default_factory=lambda: ForwarderSettings.model_validate({}), description="Evidence leaves the box."
    )
