import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri

from lineside.errors import LinesideError
from lineside_fleet.gate import spending


def bounds(alpha: float, fractions: tuple[float, ...]) -> list[float]:
    return [float(-ndtri(level)) for level in spending.levels(alpha, fractions)]


def test_the_bounds_are_those_of_lan_and_demets() -> None:
    """The published ones for five looks, one-sided 0.025, with the spending that resembles O'Brien and Fleming's."""
    assert bounds(0.025, spending.equal(5)) == pytest.approx([4.877, 3.357, 2.680, 2.290, 2.031], abs=0.002)


def test_one_look_has_the_whole_level() -> None:
    assert spending.levels(0.05, (1.0,)) == pytest.approx((0.05,))


def test_the_first_look_has_little_of_it_and_the_last_nearly_all() -> None:
    first, second, last = spending.levels(0.05, spending.equal(3))
    assert first < 0.001 < second < 0.02 < last < 0.05


@given(st.integers(1, 10), st.floats(1e-4, 0.2), st.integers(0, 2**32 - 1))
def test_no_more_than_alpha_is_crossed_by_chance(looks: int, alpha: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    fractions = tuple(np.sort(random.uniform(0.05, 1, looks)).round(4))
    if len(set(fractions)) < looks:
        return
    levels = spending.levels(alpha, fractions)
    walked = random.standard_normal((20_000, looks)) * np.sqrt(np.diff((0, *fractions)))
    z = walked.cumsum(axis=1) / np.sqrt(fractions)
    crossed = float((z > -ndtri(np.array(levels))).any(axis=1).mean())
    assert crossed <= alpha + 5 * np.sqrt(alpha / 20_000) + 1e-4
    assert all(level <= alpha for level in levels)


@pytest.mark.parametrize("fractions", [(), (0.0,), (0.5, 0.5), (0.7, 0.3), (0.5, 1.2)])
def test_fractions_that_do_not_rise_are_refused(fractions: tuple[float, ...]) -> None:
    with pytest.raises(LinesideError, match="fractions of the information"):
        spending.levels(0.05, fractions)
