"""A camera's clock on ours, under drift, jittered latches, wrap and reset."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_inference.sources.cameras.genicam.clock import PTP_WITHIN_S, DeviceClock, Latch

NS = 1_000_000_000
GHZ = NS
MODERN, OLD = GHZ, 125_000_000


@dataclass
class Crystal:
    """A device's clock by the true time, which is ours: its counter of `bits` ticks, and what the library shows."""

    hz: int = GHZ
    ppm: float = 0.0
    at_zero: int = 0
    bits: int = 64

    def ns(self, clock: float) -> int:
        ticks = (self.at_zero + round(clock * self.hz * (1 + self.ppm * 1e-6))) % (1 << self.bits)
        return ticks * NS // self.hz

    def latch(self, clock: float, before: float = 0.0002, after: float = 0.0002) -> Latch:
        return Latch(self.ns(clock), clock - before, clock + after)


jitter = st.floats(0.00002, 0.02)
latches = st.lists(st.tuples(st.floats(0.05, 5.0), jitter, jitter), min_size=1, max_size=20)


@given(
    ppm=st.floats(-100, 100),
    at_zero=st.integers(0, 1 << 60),
    hz=st.sampled_from([MODERN, OLD, 1_000_000]),
    latches=latches,
    later=st.floats(-3.0, 3.0),
)
def test_the_true_instant_is_within_the_error_that_is_said(
    ppm: float, at_zero: int, hz: int, latches: list[tuple[float, float, float]], later: float
) -> None:
    crystal, clock, now = Crystal(hz, ppm, at_zero), DeviceClock(hz), 1000.0
    for number, (pause, before, after) in enumerate(latches):
        now += pause
        assert clock.add(crystal.latch(now, before, after)) == ("kept" if number else "first")
        instant = clock.at(crystal.ns(now + later))
        assert instant is not None
        assert abs(instant.clock - (now + later)) <= instant.error_s + 1.5 / hz + 1e-9
    assert instant.error_s <= before + after + 2 * abs(later) * 600e-6 + 1e-9, "the newest latch alone says so much"


@given(ppm=st.floats(-100, 100), latches=st.lists(st.tuples(jitter, jitter), min_size=20, max_size=40))
def test_the_drift_is_measured_better_the_longer_it_is_looked_at(
    ppm: float, latches: list[tuple[float, float]]
) -> None:
    crystal, clock = Crystal(ppm=ppm, at_zero=17), DeviceClock(GHZ)
    for number, (before, after) in enumerate(latches):
        clock.add(crystal.latch(1000.0 + 10 * number, before, after))
    passed = 10 * (len(latches) - 1)
    most = (sum(latches[0]) + sum(latches[-1])) / passed * 1e6
    assert clock.drift_ppm == pytest.approx(ppm, abs=most + 0.1)


def test_the_shortest_round_trip_bounds_the_error() -> None:
    crystal, clock = Crystal(), DeviceClock(GHZ)
    for number, half in enumerate([0.02, 0.0001, 0.03, 0.04]):
        clock.add(crystal.latch(1000.0 + number, half, half))
    instant = clock.at(crystal.ns(1003.0))
    assert instant is not None
    assert instant.error_s == pytest.approx(0.0001 + 2 * 600e-6)


@given(ppm=st.floats(-100, 100), pauses=st.lists(st.floats(0.5, 30.0), min_size=3, max_size=30))
def test_a_counter_of_32_bits_that_wraps_goes_on(ppm: float, pauses: list[float]) -> None:
    crystal, clock, now = Crystal(OLD, ppm, at_zero=(1 << 32) - OLD, bits=32), DeviceClock(OLD), 1000.0
    changes = []
    for pause in pauses:
        now += pause
        changes.append(clock.add(crystal.latch(now)))
        instant = clock.at(crystal.ns(now - 0.01))
        assert instant is not None
        if "wrapped" in changes or crystal.ns(now - 0.01) <= crystal.ns(now):
            assert abs(instant.clock - (now - 0.01)) <= instant.error_s + 2e-8
    assert changes.count("wrapped") <= 1, "once it is known how wide the counter is, a wrap is nothing"
    assert "reset" not in changes


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.floats(0.1, 100.0))
def test_a_clock_that_was_set_is_recognised(first: int, second: int, pause: float) -> None:
    clock = DeviceClock(GHZ)
    clock.add(Crystal(at_zero=first).latch(1000.0))
    crystal = Crystal(at_zero=second)
    change = clock.add(crystal.latch(1000.0 + pause))
    if abs(first - second) > NS:
        assert change in {"reset", "wrapped"}, "wrapped: where it was set to what a wrap would show"
    instant = clock.at(crystal.ns(1000.0 + pause))
    assert instant is not None
    assert change == "kept" or abs(instant.clock - (1000.0 + pause)) <= instant.error_s + 1e-9


def test_a_latch_that_took_too_long_says_nothing() -> None:
    clock = DeviceClock(GHZ)
    assert clock.add(Crystal().latch(1000.0, 0.3, 0.3)) == "slow"
    assert clock.at(0) is None


TAI_S = 37
WALL_LESS_CLOCK_NS = 1_790_000_000 * NS


def grandmaster(leap_s: int = TAI_S, off_s: float = 0.0) -> Crystal:
    return Crystal(at_zero=WALL_LESS_CLOCK_NS + leap_s * NS + round(off_s * NS))


def wall_ns(clock: float) -> int:
    return WALL_LESS_CLOCK_NS + round(clock * NS)


@pytest.mark.parametrize("leap_s", [0, TAI_S])
def test_by_ptp_a_stamp_is_known_to_a_tenth_of_a_millisecond(leap_s: int) -> None:
    crystal, clock = grandmaster(leap_s), DeviceClock(GHZ)
    clock.add(crystal.latch(1000.0, 0.003, 0.009))
    assert clock.keep_by_ptp(wall_ns(1000.5), 1000.5) == leap_s
    instant = clock.at(crystal.ns(1000.7))
    assert instant is not None
    assert instant.error_s == PTP_WITHIN_S
    assert instant.clock == pytest.approx(1000.7, abs=1e-6)
    clock.leave_ptp()
    assert not clock.has_ptp
    instant = clock.at(crystal.ns(1000.7))
    assert instant is not None
    assert instant.error_s > PTP_WITHIN_S


@pytest.mark.parametrize("off_s", [0.05, -0.4, 3600.0, -5.0])
def test_a_host_that_ptp_does_not_keep_is_not_believed(off_s: float) -> None:
    crystal, clock = grandmaster(off_s=off_s), DeviceClock(GHZ)
    clock.add(crystal.latch(1000.0))
    taken = clock.keep_by_ptp(wall_ns(1000.5), 1000.5)
    assert taken is None or taken == TAI_S + off_s
    instant = clock.at(crystal.ns(1000.7))
    assert instant is not None
    assert instant.clock == pytest.approx(1000.7, abs=0.001)


def test_a_host_whose_clock_is_set_later_is_not_believed_any_more() -> None:
    crystal, clock = grandmaster(), DeviceClock(GHZ)
    clock.add(crystal.latch(1000.0))
    assert clock.keep_by_ptp(wall_ns(1000.0), 1000.0) == TAI_S
    clock.add(crystal.latch(1001.0))
    assert clock.keep_by_ptp(wall_ns(1001.0) + NS // 3, 1001.0) is None
    assert not clock.has_ptp
