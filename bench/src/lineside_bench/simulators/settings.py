"""Settings of the simulators: sections `plc_sim` and `camera_sim`."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

import lineside.settings
from lineside.addresses import BaseAddress
from lineside.settings import HttpSettings, Port, Section
from lineside_bench.options import MAX_STATIONS, STATION_SECONDS, Options
from lineside_bench.parts.labels import DEFAULT_SEED, TRAINING_SEED
from lineside_bench.processes.ports import DEFAULTS

STATIONS = 8
"""As many as twenty parts a second need."""
CONTROL_PORT = 8091

Stations = Annotated[int, Field(ge=1, le=MAX_STATIONS)]


class OpcuaSettings(Section):
    """Where the PLC listens."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(DEFAULTS["opcua"], description="TCP port to listen on.")


class PlcSimSettings(Section):
    """The simulated PLC, which feeds parts, watches the bus and reports."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=CONTROL_PORT), description="Health, metrics and runs of parts."
    )
    opcua: OpcuaSettings = Field(
        default_factory=lambda: OpcuaSettings.model_validate({}), description="Where the PLC listens."
    )
    camera_url: BaseAddress = Field(
        f"http://127.0.0.1:{DEFAULTS['camera']}", description="Address of camera-sim, without a path."
    )
    inference_url: BaseAddress | None = Field(
        None, description="Address of the inference service, whose engine the report names; absent: it names none."
    )
    evidence: Path | None = Field(
        None,
        description="Folder that the forwarder ships to, at the path that it has there; absent: evidence is not looked "
        "at.",
    )
    stations: Stations = Field(STATIONS, description="Inspection stations.")
    rate: float = Field(0.5, ge=0, le=STATIONS / STATION_SECONDS, description="Parts a second between runs; 0: none.")
    seed: int = Field(DEFAULT_SEED, ge=0, lt=TRAINING_SEED, description="Which parts come.")
    deadline_ms: float = Field(
        Options().deadline_ms,
        ge=100,
        le=60_000,
        description="Deadline of a part, that of the triggers.",
    )


class PlcSim(lineside.settings.Settings):
    """What the simulated PLC reads: the shared part and its own section."""

    section: ClassVar[str] = "plc_sim"

    plc_sim: PlcSimSettings = Field(
        default_factory=lambda: PlcSimSettings.model_validate({}), description="The simulated PLC."
    )


class CameraSimSettings(Section):
    """The simulated cameras."""

    http: HttpSettings = Field(
        default_factory=lambda: HttpSettings(port=DEFAULTS["camera"]), description="Snapshots, health and metrics."
    )
    stations: Stations = Field(STATIONS, description="Stations, each with a camera.")


class CameraSim(lineside.settings.Settings):
    """What the simulated cameras read: the shared part and their own section."""

    section: ClassVar[str] = "camera_sim"

    camera_sim: CameraSimSettings = Field(
        default_factory=lambda: CameraSimSettings.model_validate({}), description="The simulated cameras."
    )
