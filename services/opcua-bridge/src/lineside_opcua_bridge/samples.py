"""One value of a tag on its way inside the bridge, from whichever side it came: OPC UA or a collector's messages."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Sample:
    """One value of a tag. `received` is the instant on our clock, `ticks` our monotonic clock in seconds."""

    value: object
    quality: Literal["good", "uncertain", "bad"]
    source: datetime | None
    server: datetime | None
    received: datetime
    ticks: float
    overflow: bool = False
    """The server dropped values of this tag before this one."""
