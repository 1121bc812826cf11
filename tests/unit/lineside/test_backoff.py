import pytest

from lineside.backoff import Backoff


def test_the_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=60, longest_s=900)
    assert [backoff.wait_s(number) for number in range(6)] == [60, 120, 240, 480, 900, 900]
    assert backoff.wait_s(10**9) == 900


def test_a_small_first_wait_is_bounded_too() -> None:
    assert Backoff(first_s=1e-9, longest_s=900).wait_s(10**9) == pytest.approx(1e-9 * 2**16)


def test_chance_takes_at_most_the_jitter_off() -> None:
    backoff = Backoff(first_s=8, longest_s=8, jitter=0.25)
    assert backoff.wait_s(0) == 8
    assert backoff.wait_s(0, 0.5) == 7
    assert 6 < backoff.wait_s(0, 0.999) < 6.1
