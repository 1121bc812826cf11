"""Settings of the exporter: section `exporter`."""

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

import lineside.settings
from lineside.addresses import BaseAddress
from lineside.settings import HttpSettings, Section, nearest
from lineside.spool.settings import SpoolSettings
from lineside_exporter.cloudwatch.settings import CloudWatchSettings

SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Version = Annotated[str, Field(min_length=1, max_length=64)]

OTHER_SOURCES = (
    "exporter",
    "triton",
    "triton-models",
    "models",
    "components",
    "host",
    "disks",
    "containers",
    "jetson",
    "tegrastats",
    "nvml",
    "bus",
    "cloudwatch",
)
"""Names of sources that are no service's."""


class ExporterHttpSettings(HttpSettings):
    """Where `/metrics` of the whole box is served."""

    port: lineside.settings.Port = Field(9109, description="TCP port to listen on.")


class TritonSettings(Section):
    """Triton, whose models' readiness and statistics are shown beside its own metrics."""

    url: BaseAddress = Field("http://127.0.0.1:8000", description="Base address of its HTTP port.")
    metrics_url: BaseAddress = Field("http://127.0.0.1:8002", description="Base address of its metrics port.")


class DockerSettings(Section):
    """The Docker Engine. Whoever may use its socket is root on this box: leave it out unless that is acceptable."""

    socket: Path = Field(Path("/var/run/docker.sock"), description="Socket of the engine.")
    label: str = Field(
        "com.docker.compose.project=lineside",
        pattern=r"^[^=\s]+(=\S+)?$",
        max_length=256,
        description="Which containers are shown: those with this label, as name or name=value.",
    )


class LimitSettings(Section):
    """What one source may bring; a metric beyond it is left out whole and counted."""

    body_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="Bytes of an answer.")
    series: int = Field(5000, ge=1, le=100_000, description="Series.")
    label_characters: int = Field(512, ge=16, le=65536, description="Characters of one label's value.")


class DesiredSettings(Section):
    """Which versions there should be; what is not is shown as drift, and why."""

    models: dict[str, Version] = Field(
        {}, description="Version by model; where it is not named here, the policy in force and the card say it."
    )
    components: dict[SourceName, Version] = Field(
        {}, description="Version by service, for instance inference: 0.1.0; nothing is compared where it is not named."
    )


class ExporterSettings(Section):
    """The metrics of the whole box, joined."""

    http: ExporterHttpSettings = Field(
        default_factory=ExporterHttpSettings, description="Health, readiness and the metrics of the whole box."
    )
    services: dict[SourceName, BaseAddress] = Field(
        {
            "inference": "http://127.0.0.1:8080",
            "topic-bridge": "http://127.0.0.1:8081",
            "opcua-bridge": "http://127.0.0.1:8082",
            "forwarder": "http://127.0.0.1:8083",
        },
        max_length=64,
        description="The services of this box and their base addresses; their series get the name as label `service`.",
    )
    inference_token_file: Path | None = Field(
        None, description="File whose first line is the bearer token for the inference service."
    )
    triton: TritonSettings | None = Field(
        default_factory=TritonSettings, description="Triton; null where there is none to ask."
    )
    docker: DockerSettings | None = Field(
        None, description="The Docker Engine; absent: the containers' states are not shown."
    )
    paths: list[Path] = Field(
        [], max_length=32, description="Folders whose disks are shown, beside the one of spool.folder."
    )
    desired: DesiredSettings = Field(default_factory=DesiredSettings, description="Versions that there should be.")
    period_s: float = Field(
        5.0, ge=0.1, le=300, description="Seconds from one reading of a source to the next: how old a scrape can be."
    )
    timeout_s: float = Field(2.0, gt=0, le=60, description="Seconds after which a reading is given up.")
    limits: LimitSettings = Field(default_factory=LimitSettings, description="What one source may bring.")
    cloudwatch: CloudWatchSettings | None = Field(
        None, description="Results to Amazon CloudWatch, aggregated by period; absent: none are sent."
    )

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        taken = sorted(set(self.services) & set(OTHER_SOURCES))
        if taken:
            raise ValueError(f"services: {taken[0]!r} is the name of a source already; choose another")
        for name in self.desired.components:
            if name not in self.services:
                raise ValueError(f"desired.components: {name!r} is no service{nearest(name, sorted(self.services))}")
        return self


class Settings(lineside.settings.Settings):
    """What the exporter reads: the shared part, the spool's place and its own section."""

    section: ClassVar[str] = "exporter"

    spool: SpoolSettings = Field(default_factory=SpoolSettings, description="Where evidence waits, and how much of it.")
    exporter: ExporterSettings = Field(
        default_factory=ExporterSettings, description="The metrics of the whole box, joined."
    )
