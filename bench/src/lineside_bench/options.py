"""What can be chosen about a run, checked before anything starts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from lineside.contract import MAX_DEADLINE_MS
from lineside_bench.errors import BenchError
from lineside_bench.parts.labels import DEFAULT_SEED, TRAINING_SEED
from lineside_bench.peers.broker import BrokerKind, BusKind
from lineside_bench.plcs.environment import Stack
from lineside_bench.processes.ports import DEFAULTS, PortMode

MAX_PARTS = 20_000
MAX_STATIONS = 32
MAX_RATE = 200.0
LEAST_STATIONS = 4
MAX_GAP_MS = 1000
MAX_PICTURES = 512
"""Pictures of parts in memory; about 25 MB."""
O6_S = 540.0
"""o6 ends itself after ten minutes without a credential of its makers; the line needs some of them to start and end."""
STATION_SECONDS = 0.4
"""How long a part keeps its station: a verdict, and room to bring the next part."""


class CameraKind(StrEnum):
    """What the stations' cameras are."""

    http = "http"
    genicam = "genicam"
    genicam_hardware = "genicam-hardware"


@dataclass(frozen=True)
class Options:
    """One run of the line.

    `parts` None is without end; `rate` is parts a second for the whole line, 0 for none; `stations` None is as many as
    the rate needs. `cameras` is what each station has. `plc` is the OPC UA stack of the simulated PLC, `gap_ms` the
    milliseconds from a part's id to its trigger; 0 is at once. `margin_ms` is what the bridge keeps of the deadline for
    the write-back. `patience_s` is how long a station waits for a verdict before the part counts as missing; longer
    than a restart takes. `pictures` is how many are drawn before they come again, as other parts; None is one for each
    part. `camera_ms` is how long a camera takes to answer, and `concurrency` how many requests the inference service
    works on at once, None its default: together they bound what the line can do without any work.
    """

    parts: int | None = 200
    rate: float = 10.0
    seed: int = DEFAULT_SEED
    stations: int | None = None
    deadline_ms: float = 400.0
    ports: PortMode = PortMode.auto
    bus: BusKind = BusKind.mqtt
    broker: BrokerKind = BrokerKind.auto
    cameras: CameraKind = CameraKind.http
    plc: Stack = Stack.asyncua
    gap_ms: float = 0.0
    margin_ms: float = 40.0
    patience_s: float = 30.0
    pictures: int | None = None
    camera_ms: float = 0.0
    concurrency: int | None = None
    port_defaults: Mapping[str, int] = field(default_factory=lambda: DEFAULTS)

    @property
    def station_count(self) -> int:
        """How many stations the line has."""
        if self.stations is not None:
            return self.stations
        return min(MAX_STATIONS, max(LEAST_STATIONS, math.ceil(self.rate * STATION_SECONDS)))

    def check(self) -> None:
        """Raise BenchError for the first value that is out of range."""
        _within("--parts", self.parts, 1, MAX_PARTS, why="so that every one of them is in the report")
        _within("--rate", self.rate, 0, MAX_RATE)
        _within("--seed", self.seed, 0, TRAINING_SEED - 1, why="higher seeds are those that the models were trained on")
        _within("--stations", self.stations, 1, MAX_STATIONS)
        _within("--deadline-ms", self.deadline_ms, 100, MAX_DEADLINE_MS)
        _within("--pictures", self.pictures, 1, MAX_PICTURES, why="which all stay in memory")
        _within("--camera-ms", self.camera_ms, 0, MAX_DEADLINE_MS)
        _within("concurrency", self.concurrency, 1, 1024)
        _within("margin_ms", self.margin_ms, 0, self.deadline_ms / 2)
        _within("--gap-ms", self.gap_ms, 0, MAX_GAP_MS)
        if self.parts is not None and self.rate <= 0:
            raise BenchError(f"--rate {self.rate:g} brings no parts", remedy="Give parts a second above 0")
        if self.bus is BusKind.ipc and self.broker is not BrokerKind.auto:
            raise BenchError(
                f"--broker {self.broker} is for --bus mqtt; over IPC there is no broker", remedy="Leave one of them out"
            )
        if self.plc is Stack.o6 and self.parts is not None and self.parts / self.rate > O6_S:
            raise BenchError(
                f"--parts {self.parts} at --rate {self.rate:g} take longer than --plc o6 runs, ten minutes",
                remedy=f"Give at most {int(O6_S * self.rate)} parts, or a higher rate",
            )


def station_names(stations: int) -> list[str]:
    """Return the stations' names, as messages and cameras carry them."""
    return [f"station-{number}" for number in range(1, stations + 1)]


def _within(name: str, value: float | None, low: float, high: float, *, why: str = "") -> None:
    if value is not None and not low <= value <= high:
        reason = f" ({why})" if why else ""
        allowed = f"{low:.10g} to {high:.10g}{reason}"
        raise BenchError(f"{name} {value:.10g} is out of range", remedy=f"Give a number from {allowed}")
