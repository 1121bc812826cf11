import asyncio

import pytest

from lineside_forwarder.clock import Clock
from lineside_forwarder.rate_limiter import Bucket, RateLimiter
from tests.support.clocks import ManualClock


def test_the_average_keeps_to_the_rate() -> None:
    clock = ManualClock(100.0)
    bucket = Bucket(1000, clock)
    begun = clock.now
    for _ in range(50):
        clock.now += bucket.take(640)
    assert clock.now - begun == pytest.approx(50 * 640 / 1000)


def test_an_idle_hour_earns_one_second_only() -> None:
    clock = ManualClock(100.0)
    bucket = Bucket(1000, clock)
    clock.now += 3600
    assert bucket.take(1000) == 0
    assert bucket.take(1000) == 1


def test_who_comes_together_waits_one_after_the_other() -> None:
    bucket = Bucket(1000, ManualClock(100.0))
    assert [bucket.take(1000) for _ in range(3)] == [1, 2, 3]


def test_more_than_a_second_is_worth_may_go_at_once_and_is_waited_for() -> None:
    bucket = Bucket(1000, ManualClock(100.0))
    assert bucket.take(8_000) == 8


async def test_without_a_cap_nothing_waits() -> None:
    class Never(Clock):
        async def sleep(self, seconds: float) -> None:
            raise AssertionError(seconds)

    await asyncio.wait_for(RateLimiter(None, Never()).spend(10**12), 1)


async def test_the_wait_is_slept() -> None:
    slept = []

    class Counts(Clock):
        def monotonic(self) -> float:
            return 0.0

        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    limiter = RateLimiter(1000, Counts())
    await limiter.spend(500)
    await limiter.spend(500)
    assert slept == [0.5, 1.0]
