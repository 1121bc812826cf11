"""A camera's own clock on ours: at which instant of time.monotonic() something happened that the camera stamped.

The camera's clock is latched between two of our instants. Whatever the two crystals do, within MOST_DRIFT, a stamp lies
between what the latch before it and the one behind it allow: all latches together give an interval, whose half is the
error. Nothing in it is a guess; the drift as it was measured only says where in the interval the likeliest instant is.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

MOST_DRIFT = 600e-6
"""By how much the clocks may run apart: 100 ppm of a crystal, and 500 ppm by which a host's clock is slewed at most."""
PTP_WITHIN_S = 100e-6
"""How far two clocks may be apart that one grandmaster of PTP keeps."""
_KEPT = 64
_NS = 1_000_000_000
_BITS = (32, 64)
_LEAST_BASE_S = 0.5
_LONGEST_LATCH_S = 0.5
_MOST_TAI_S = 100

Change = Literal["first", "kept", "slow", "wrapped", "reset"]


@dataclass(frozen=True)
class Latch:
    """What the camera's clock showed, in ns, at some instant between two of time.monotonic(), in seconds."""

    device_ns: int
    before: float
    after: float

    @property
    def round_trip_s(self) -> float:
        """How long it took, in seconds."""
        return self.after - self.before


@dataclass(frozen=True)
class Instant:
    """An instant of time.monotonic(), and by how much it may be wrong either way; both in seconds."""

    clock: float
    error_s: float


class DeviceClock:
    """The camera's clock since the connect; a reset of it forgets what was known before."""

    def __init__(self, tick_hz: int) -> None:
        """Make it for a clock of so many ticks a second; its latches and stamps are in ns all the same."""
        self._tick_hz = tick_hz
        self._latches: deque[Latch] = deque(maxlen=_KEPT)  # their ns are unwrapped
        self._turn_ns: int | None = None
        self._rate = 1.0
        self._ptp_ns: int | None = None  # device time less our clock, where PTP keeps both

    def add(self, latch: Latch) -> Change:
        """Take a latch; return what it shows of the clock since the one before. One that took too long is left out."""
        if latch.round_trip_s > _LONGEST_LATCH_S:
            return "slow"
        if not self._latches:
            self._latches.append(latch)
            return "first"
        unwrapped = Latch(self._unwrapped(latch.device_ns, self._expected_ns(latch)), latch.before, latch.after)
        if self._fits(unwrapped):
            self._keep(unwrapped)
            return "kept"
        for bits in _BITS:
            turn_ns = (_NS << bits) // self._tick_hz
            turned = Latch(_nearest(latch.device_ns, turn_ns, self._expected_ns(latch)), latch.before, latch.after)
            if turn_ns > self._latches[-1].device_ns > latch.device_ns and self._fits(turned):
                self._turn_ns = turn_ns
                self._keep(turned)
                return "wrapped"
        self._latches.clear()
        self._latches.append(latch)
        self._turn_ns, self._rate, self._ptp_ns = None, 1.0, None
        return "reset"

    def at(self, device_ns: int) -> Instant | None:
        """Return the instant of a stamp, None as long as no latch is known."""
        if not self._latches:
            return None
        given = self._unwrapped(device_ns, self._latches[-1].device_ns)
        earliest, latest = _common(_allowed(latch, given) for latch in self._latches)
        if earliest > latest:  # the clock was set by less than a latch can tell: the newest one knows
            earliest, latest = _allowed(self._latches[-1], given)
        likely = self._likely(given)
        if self._ptp_ns is not None:
            by_ptp = (given - self._ptp_ns) / _NS
            if earliest - PTP_WITHIN_S <= by_ptp <= latest + PTP_WITHIN_S:
                return Instant(by_ptp, PTP_WITHIN_S)
        likely = min(max(likely, earliest), latest)
        return Instant(likely, max(latest - likely, likely - earliest))

    @property
    def shortest_round_trip_s(self) -> float:
        """How long the best of its latches took, in seconds; without end as long as there is none."""
        return min((latch.round_trip_s for latch in self._latches), default=float("inf"))

    @property
    def drift_ppm(self) -> float:
        """By how much faster than ours it was measured to run, in millionths."""
        return (1 / self._rate - 1) * 1e6

    @property
    def has_ptp(self) -> bool:
        """Whether its stamps are taken by PTP's time."""
        return self._ptp_ns is not None

    def keep_by_ptp(self, wall_ns: int, clock: float) -> int | None:
        """Take the camera's time for PTP's, as this host's is: our two clocks as they show the same instant.

        Return by how many whole seconds PTP's time (TAI) is ahead of this host's (UTC). None, and no PTP, where the
        newest latch shows that the two do not agree, so that one of them is not kept by that grandmaster.
        """
        self._ptp_ns = None
        if not self._latches:
            return None
        latch = self._latches[-1]
        half_s = latch.round_trip_s / 2
        apart_ns = latch.device_ns - (wall_ns + round((latch.before + half_s - clock) * _NS))
        tai_s = round(apart_ns / _NS)
        if not 0 <= tai_s <= _MOST_TAI_S or abs(apart_ns - tai_s * _NS) / _NS > half_s + PTP_WITHIN_S:
            return None
        self._ptp_ns = wall_ns - round(clock * _NS) + tai_s * _NS
        return tai_s

    def ptp_ns(self, clock: float) -> int | None:
        """Return the camera's time at an instant of time.monotonic(), None where PTP does not keep it."""
        return None if self._ptp_ns is None else round(clock * _NS) + self._ptp_ns

    def leave_ptp(self) -> None:
        """Take its time for its own again: the camera is no slave of PTP (any more)."""
        self._ptp_ns = None

    def _keep(self, latch: Latch) -> None:
        self._rate = _measured_rate(self._latches, latch) or self._rate
        self._latches.append(latch)

    def _fits(self, latch: Latch) -> bool:
        """Return whether the latches so far allow this one, which must not go back."""
        earliest, latest = _common(_allowed(each, latch.device_ns) for each in self._latches)
        if earliest > latest:
            earliest, latest = _allowed(self._latches[-1], latch.device_ns)
        went_on = latch.device_ns >= self._latches[-1].device_ns
        return went_on and earliest <= latch.after and latest >= latch.before

    def _expected_ns(self, latch: Latch) -> int:
        newest = self._latches[-1]
        return newest.device_ns + round((latch.after - newest.after) * _NS)

    def _unwrapped(self, device_ns: int, about_ns: int) -> int:
        return device_ns if self._turn_ns is None else _nearest(device_ns, self._turn_ns, about_ns)

    def _likely(self, given: int) -> float:
        anchor = min(self._latches, key=lambda latch: latch.round_trip_s + abs(given - latch.device_ns) / _NS * 1e-4)
        return (anchor.before + anchor.after) / 2 + (given - anchor.device_ns) / _NS * self._rate


def _nearest(device_ns: int, turn_ns: int, about_ns: int) -> int:
    """Return what a counter that wraps meant, by what it shows and about what it must be."""
    return device_ns + round((about_ns - device_ns) / turn_ns) * turn_ns


def _allowed(latch: Latch, device_ns: int) -> tuple[float, float]:
    """Return the earliest and the latest instant of a stamp by one latch."""
    passed = (device_ns - latch.device_ns) / _NS
    slack = abs(passed) * MOST_DRIFT
    return latch.before + passed - slack, latch.after + passed + slack


def _common(intervals: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return what all intervals have in common; empty where its first is greater than its second."""
    every = list(intervals)
    return max(low for low, _ in every), min(high for _, high in every)


def _measured_rate(earlier: Sequence[Latch], newest: Latch) -> float | None:
    """Return our seconds for one of the camera's, None where too little time has passed to say."""
    bounds = [
        ((newest.before - each.after) / base, (newest.after - each.before) / base)
        for each in earlier
        if (base := (newest.device_ns - each.device_ns) / _NS) >= _LEAST_BASE_S
    ]
    if not bounds:
        return None
    low, high = _common(bounds)
    if low > high:  # the drift itself has changed
        low, high = bounds[-1]
    return min(max((low + high) / 2, 1 - MOST_DRIFT), 1 + MOST_DRIFT)
