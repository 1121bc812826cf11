"""The test of a share: exact for independent parts, and for devices that differ."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lineside_fleet.gate.rates import Excess, excess

INDEPENDENT = {"effect": 1.0, "freedom": 1e9}


def test_the_bounds_are_clopper_and_pearsons_where_only_one_side_varies() -> None:
    big = Excess((1_000_000, 10_000_000), (3, 200), 1.0, 0.0, **INDEPENDENT)
    exact = stats.binomtest(3, 200).proportion_ci(0.90, method="exact")
    assert big.high(0.05) == pytest.approx(exact.high - 0.1, abs=1e-4)
    assert big.low(0.05) == pytest.approx(exact.low - 0.1, abs=1e-4)


@pytest.mark.parametrize(("share", "parts"), [(0.002, 1000), (0.01, 1000), (0.02, 2000)])
def test_a_share_at_its_margin_is_shown_to_be_within_in_at_most_one_of_twenty(share: float, parts: int) -> None:
    """By summing over every count that can be: no simulation."""
    limit = 1.3 * share + 0.001
    size = 0.0
    for before in range(int(stats.binom.ppf(1 - 1e-6, parts, share)) + 1):
        # The more staged events the higher the bound: the largest count that is still within decides.
        within = -1
        while Excess((before, parts), (within + 1, parts), 1.3, 0.001, **INDEPENDENT).high(0.05) <= 0:
            within += 1
        size += stats.binom.pmf(before, parts, share) * stats.binom.cdf(within, parts, limit)
    assert size <= 0.05


def test_no_events_have_bounds_all_the_same() -> None:
    none = Excess((0, 3000), (0, 3000), 2.0, 0.002, **INDEPENDENT)
    assert none.value == -0.002
    assert none.high(0.05) == pytest.approx(-0.002 + 1 - 0.05 ** (1 / 3000))
    assert none.low(0.05) < none.value
    every = Excess((3000, 3000), (3000, 3000), 1.0, 0.01, **INDEPENDENT)
    assert every.low(0.05) < every.value < every.high(0.05)


def units(random: np.random.Generator, uneven: float) -> dict[tuple[str, int], tuple[float, float]]:
    rates = 0.02 * np.exp(uneven * random.standard_normal(10))
    return {(f"d{n}", 0): (float(random.binomial(500, min(1.0, rate))), 500.0) for n, rate in enumerate(rates)}


def test_devices_that_differ_widen_the_bounds() -> None:
    random = np.random.default_rng(2)
    alike = excess("groups", units(random, 0), units(random, 0), ratio=1.3, allowance=0.001)
    differ = excess("groups", units(random, 1.2), units(random, 1.2), ratio=1.3, allowance=0.001)
    assert alike.effect < 2 < differ.effect


def test_what_a_device_is_like_cancels_where_it_is_compared_with_itself() -> None:
    random = np.random.default_rng(3)
    rates = 0.02 * np.exp(1.2 * random.standard_normal(20))
    sides = [
        {(f"d{n}", 0): (float(random.binomial(2000, min(1.0, rate))), 2000.0) for n, rate in enumerate(rates)}
        for _ in range(2)
    ]
    paired = excess("pairs", *sides, ratio=1.0, allowance=0.001)
    unpaired = excess("groups", *sides, ratio=1.0, allowance=0.001)
    assert paired.effect < 2 < unpaired.effect


def test_few_units_widen_the_bounds() -> None:
    few, many = (Excess((20, 2000), (20, 2000), 1.3, 0.0, 1.0, freedom) for freedom in (4.0, 400.0))
    assert few.high(0.01) > many.high(0.01)


COUNTS = st.tuples(st.integers(0, 60), st.integers(60, 5000))


@given(COUNTS, COUNTS, st.floats(1, 3), st.floats(0, 0.1), st.floats(1, 9), st.floats(1, 100))
def test_more_staged_events_never_look_better(
    before: tuple[int, int], after: tuple[int, int], ratio: float, allowance: float, effect: float, freedom: float
) -> None:
    if after[0] == after[1]:
        return
    fewer = Excess(before, after, ratio, allowance, effect, freedom)
    more = Excess(before, (after[0] + 1, after[1]), ratio, allowance, effect, freedom)
    for level in (0.05, 0.001):
        assert more.high(level) >= fewer.high(level) - 1e-12
        assert more.low(level) >= fewer.low(level) - 1e-12
        assert fewer.low(level) <= fewer.value <= fewer.high(level)
        assert math.isfinite(fewer.high(level))
