"""Settings of the forwarder: section `forwarder`, and the shared sections `spool` and `edge_manager`."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

import lineside.settings
from lineside.addresses import EndpointUrl, is_address
from lineside.contract import Name
from lineside.edge_manager.settings import EdgeManagerSettings
from lineside.settings import HttpSettings, Section
from lineside.spool.settings import MIB, SpoolSettings
from lineside.telemetry import Level
from lineside_forwarder.quiet_hours import minutes, zone


class DestinationSettings(Section):
    """What every destination has."""

    name: Name = Field(description="Name in logs, metrics and the spool's progress; unique, and kept over changes.")


class DiskSettings(DestinationSettings):
    """A folder: every batch a file, every large tensor or image a file beside it."""

    kind: Literal["disk"] = "disk"
    path: Path = Field(
        description="Folder in which edge_manager.FolderPrefix is made; absolute, and there: it is not made, "
        "for it may be a disk that is not mounted yet."
    )

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("must be absolute")
        return path


class S3Settings(DestinationSettings):
    """A bucket of S3, or of a store that speaks its protocol."""

    kind: Literal["s3"] = "s3"
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="The bucket.")
    region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        description="Region of the bucket; AWS_REGION or AWS_DEFAULT_REGION where absent.",
    )
    endpoint_url: EndpointUrl | None = Field(
        None, description="Address of an S3-compatible store, as https://host:port/path; AWS's own where absent."
    )
    addressing: Literal["path", "virtual"] = Field(
        "path",
        description="Where such a store expects the bucket: path, after its address; virtual, in the host name, as "
        "bucket.host. AWS's own is addressed as it wishes.",
    )
    encryption: Literal["none", "sse-s3", "sse-kms"] = Field(
        "none", description="Encryption at rest that is asked for; none: as the bucket has it by default."
    )
    kms_key_id: str | None = Field(
        None, description="sse-kms: id, alias or ARN of the key; AWS's own key for S3 where absent."
    )
    multipart_bytes: int = Field(
        8 * MIB, ge=5 * MIB, le=5120 * MIB, description="Above this an object goes in parts of this size."
    )
    timeout_s: float = Field(60.0, gt=0, le=600, description="Longest silence of the store before it counts as away.")

    @model_validator(mode="after")
    def _host_can_hold_the_bucket(self) -> Self:
        parts = urlsplit(self.endpoint_url or "")
        if self.addressing == "virtual" and parts.path.strip("/"):
            raise ValueError(f"addressing: virtual does not go with a path in endpoint_url (has {parts.path!r})")
        if self.addressing == "virtual" and is_address(parts.hostname or ""):
            raise ValueError("addressing: virtual needs a host name in endpoint_url: no bucket fits before an address")
        return self

    @model_validator(mode="after")
    def _key_is_used(self) -> Self:
        if self.kms_key_id is not None and self.encryption != "sse-kms":
            raise ValueError(f"kms_key_id: needs encryption: sse-kms (is {self.encryption})")
        return self


class StreamManagerSettings(DestinationSettings):
    """AWS Greengrass Stream Manager, which exports the files to S3."""

    kind: Literal["stream-manager"] = "stream-manager"
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] = Field(
        description="The bucket that Stream Manager exports to."
    )
    stream: str = Field(
        "lineside-evidence",
        pattern=r"^[A-Za-z0-9_ ,.-]+$",
        max_length=240,
        description="Name of the stream, which is made where it is not there; with `-status` the one that says what "
        "became of its tasks.",
    )
    path: Path = Field(
        description="Folder for the files until they are exported; absolute, there already, and the same path here "
        "and for Stream Manager, which must be able to read it."
    )
    max_bytes: int = Field(
        512 * MIB, ge=MIB, description="Most bytes of such files at once; one that is larger goes alone."
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of Stream Manager on this box; STREAM_MANAGER_SERVER_PORT where absent, or else 8088.",
    )

    @field_validator("path")
    @classmethod
    def _is_absolute(cls, path: Path) -> Path:
        if not path.is_absolute():
            raise ValueError("must be absolute")
        return path


Destination = Annotated[DiskSettings | S3Settings | StreamManagerSettings, Field(discriminator="kind")]


class ForwarderSettings(Section):
    """The forwarder."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=8083), description="Health and metrics of the forwarder."
    )
    destinations: tuple[Destination, ...] = Field(
        (), description="Where evidence goes, each with its own progress; empty: as section edge_manager says."
    )
    quiet_hours: tuple[str, ...] = Field(
        (), description="Hours in which nothing is sent over the network, e.g. 22:00-06:00; disk is not held."
    )
    time_zone: str = Field("UTC", description="Time zone of quiet_hours, by its IANA name, e.g. Europe/Berlin.")
    bandwidth_bytes_s: int | None = Field(
        None, ge=1024, description="Most bytes a second over the network, all destinations together; absent: no cap."
    )

    @field_validator("quiet_hours")
    @classmethod
    def _are_windows(cls, windows: tuple[str, ...]) -> tuple[str, ...]:
        minutes(windows)
        return windows

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        zone(name)
        return name

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
        description="SageMaker Edge Manager's agent, by its own names.",
    )
    forwarder: ForwarderSettings = Field(
        default_factory=lambda: ForwarderSettings.model_validate({}), description="Evidence leaves the box."
    )

    @property
    def log_level(self) -> Level:
        """The level of the log, which SagemakerEdgeLogVerbose lowers."""
        return self.edge_manager.log_level(self.log.level)
