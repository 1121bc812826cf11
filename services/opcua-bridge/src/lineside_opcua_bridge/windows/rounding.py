"""Numbers as short as their datatype allows, for every digit is a byte on the bus."""

import numpy as np
from numpy.typing import NDArray

DIGITS = {"FP32": 7, "FP64": 15}
"""Significant digits that are sent: FP32 is met within 5e-7 of the value, far below what a sensor can tell apart."""

_EXACT = 22
"""The greatest power of ten that a double holds exactly."""
_POWERS = np.array([float(f"1e{power}") for power in range(_EXACT + 1)])
_WHOLE = 1e15
"""Below it a whole number is written without a fraction, which saves two bytes."""


def shortened(values: NDArray[np.float64], digits: int) -> list[int | float]:
    """Return finite numbers, flat, each rounded to its first `digits` digits, 1 to 15."""
    flat = values.ravel()
    with np.errstate(divide="ignore"):
        leading = np.floor(np.log10(np.abs(flat)))
    shift = np.where(np.isfinite(leading), digits - 1 - leading, 0).astype(np.int64)
    # A whole number divided by an exact power of ten is the double nearest to the decimal number, and prints as it.
    up, down = _POWERS[np.clip(shift, 0, _EXACT)], _POWERS[np.clip(-shift, 0, _EXACT)]
    rounded = np.where(shift >= 0, np.round(flat * up) / up, np.round(flat / down) * down)
    for place in np.flatnonzero(np.abs(shift) > _EXACT):
        rounded[place] = float(f"{flat[place]:.{digits}g}")
    short: list[int | float] = rounded.tolist()
    for whole in np.flatnonzero((rounded == np.floor(rounded)) & (np.abs(rounded) < _WHOLE)).tolist():
        short[whole] = int(short[whole])
    return short
