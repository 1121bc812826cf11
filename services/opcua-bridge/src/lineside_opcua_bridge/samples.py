"""One value of a tag inside the bridge, from OPC UA or a collector's messages."""

from datetime import datetime
from typing import Literal, NamedTuple


class Sample(NamedTuple):
    """One value of a tag. `received` is the instant on our clock, `ticks` our monotonic clock in seconds.

    A tuple, because tens of thousands a second are made: a frozen dataclass takes five times as long.
    """

    value: object
    quality: Literal["good", "uncertain", "bad"]
    source: datetime | None
    server: datetime | None
    received: datetime
    ticks: float
    overflow: bool = False
    """The server dropped values of this tag before this one."""
    stale: bool = False
    """A broker had kept it: later values are compared with it, but it triggers nothing, for its part is gone."""
