"""Settings of the exporter: section `exporter`."""

from typing import ClassVar

from pydantic import Field

import lineside.settings
from lineside.settings import HttpSettings, Section


class ExporterHttpSettings(HttpSettings):
    """Where `/metrics` of the whole box is served."""

    port: lineside.settings.Port = Field(9109, description="TCP port to listen on.")


class ExporterSettings(Section):
    """The metrics of the whole box, joined."""

    http: ExporterHttpSettings = Field(
        default_factory=ExporterHttpSettings, description="Health, readiness and the metrics of the whole box."
    )


class Settings(lineside.settings.Settings):
    """What the exporter reads: the shared part and its own section."""

    section: ClassVar[str] = "exporter"

    exporter: ExporterSettings = Field(
        default_factory=ExporterSettings, description="The metrics of the whole box, joined."
    )
