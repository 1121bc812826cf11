"""A camera's own clock: it counts ticks from its start, and runs a little fast or slow."""

import time
from dataclasses import dataclass, field

_TURN = 1 << 64
NANOSECONDS = 1_000_000_000


@dataclass
class DeviceClock:
    """Ticks of 64 bits, which begin at `offset` and wrap; `drift_ppm` above 0 is too fast."""

    ticks_a_second: int = NANOSECONDS
    offset: int = 0
    drift_ppm: float = 0.0
    origin: float = field(default_factory=time.monotonic)
    """The instant of time.monotonic() at which it was `offset`."""

    def ticks(self, instant: float) -> int:
        """Return what it shows at an instant of time.monotonic()."""
        return (self.offset + round((instant - self.origin) * self._rate)) % _TURN

    def instant(self, ticks: int) -> float:
        """Return the instant of time.monotonic(), the nearest to now, at which it shows so many ticks."""
        now = time.monotonic()
        ahead = (ticks - self.ticks(now) + _TURN // 2) % _TURN - _TURN // 2
        return now + ahead / self._rate

    def follow_host(self) -> None:
        """Show the host's time since 1970 in nanoseconds from now on, as one that PTP keeps."""
        self.ticks_a_second, self.drift_ppm = NANOSECONDS, 0.0
        self.offset, self.origin = time.time_ns(), time.monotonic()

    @property
    def _rate(self) -> float:
        return self.ticks_a_second * (1 + self.drift_ppm / 1e6)
