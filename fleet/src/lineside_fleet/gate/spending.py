"""How the risk of an error is spent over several looks at data that grows.

Lan and DeMets (1983) with the spending function that resembles O'Brien and Fleming's bounds: after the share t of the
information at most 2 - 2 Phi(z(alpha / 2) / sqrt(t)) of the risk is spent, so early looks decide only what is plain
and the last has nearly all of it. The bound of look k solves P(no bound crossed before, Z(k) beyond its bound) = what
is spent at it, where the Z are those of a Brownian motion; the density of what has not crossed is carried from look to
look by numerical integration (Armitage, McPherson and Rowe, 1969). A look's level is the tail of the normal beyond its
bound, and holds for any test: a t test of the same level takes the place of z.
"""

from functools import lru_cache

import numpy as np
from scipy.special import ndtr, ndtri

from lineside.errors import LinesideError
from lineside_fleet.gate.observations import Floats

SPENT = 0.8
"""How much of a risk the gate spends.

The rest is kept for what the normal theory of the bounds does not see: Student's t over few devices, whose estimates of
variance differ from look to look, takes up to a tenth more than it should (six devices, five looks), and counts of rare
events are skew.
"""
_POINTS = 1201
_FAR = 8.5
"""Standard deviations beyond which nothing is left to integrate."""


def spent(alpha: float, fraction: float) -> float:
    """Return how much of `alpha` may be spent once `fraction` (0 to 1) of the information is there."""
    return float(min(alpha, 2 - 2 * ndtr(-ndtri(alpha / 2) / np.sqrt(fraction))))


def equal(looks: int) -> tuple[float, ...]:
    """Return the fractions of so many looks at even distances."""
    return tuple((number + 1) / looks for number in range(looks))


@lru_cache(maxsize=1024)
def levels(alpha: float, fractions: tuple[float, ...]) -> tuple[float, ...]:
    """Return each look's one-sided level; `fractions` of the information rise to at most 1. Raises LinesideError."""
    if not fractions or fractions[0] <= 0 or fractions[-1] > 1 or any(np.diff(fractions) <= 0):
        raise LinesideError(
            f"fractions of the information: {fractions}", remedy="they rise from above 0 to at most 1, one a look"
        )
    found: list[float] = []
    grid = density = np.empty(0)
    before = 0.0
    for number, fraction in enumerate(fractions):
        due = spent(alpha, fraction) - (spent(alpha, before) if number else 0.0)
        step = np.sqrt(fraction - before)
        far = _FAR * np.sqrt(fraction)
        bound = _bound(grid, density, step, due, far) if number else float(-ndtri(due) * step) if due > 0 else far
        bound = min(bound, far)
        found.append(float(ndtr(-bound / np.sqrt(fraction))))
        below = np.linspace(-far, bound, _POINTS)
        if number:
            density = np.trapezoid(density * _normal((below[:, None] - grid) / step) / step, grid, axis=1)
        else:
            density = _normal(below / step) / step
        grid, before = below, fraction
    return tuple(found)


def _bound(grid: Floats, density: Floats, step: float, due: float, far: float) -> float:
    low, high = -far, far
    for _ in range(60):
        middle = (low + high) / 2
        beyond = float(np.trapezoid(density * ndtr((grid - middle) / step), grid))
        low, high = (middle, high) if beyond > due else (low, middle)
    return (low + high) / 2


def _normal(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi))
