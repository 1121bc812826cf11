"""Outputs as heads read them: finite floating-point arrays of the shape that the card promises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineside_inference.errors import EngineFailed, OutputNotFinite

Floats = NDArray[np.float32] | NDArray[np.float64]
_REMEDY = "Make the card agree with the model"


@dataclass(frozen=True)
class Outputs:
    """The outputs of one answer by name, and the model's name for what is said of them."""

    model: str
    arrays: Mapping[str, NDArray[np.generic]]

    def raw(self, name: str) -> NDArray[Any]:
        """Return one as it came; raises EngineFailed where it is not there."""
        array = self.arrays.get(name)
        if array is None:
            raise EngineFailed(f"{self._called(name)} did not come", remedy=_REMEDY)
        return array

    def finite(self, name: str) -> Floats:
        """Return one as FP32, or FP64 where it came so; raises OutputNotFinite for NaN or infinity."""
        array = self.raw(name)
        values: Floats = array if array.dtype in {np.dtype("f4"), np.dtype("f8")} else array.astype(np.float32)
        if not np.isfinite(values).all():
            raise OutputNotFinite(
                f"{self._called(name)} is not finite",
                remedy="Check the model with this input; reduced precision (FP16) can overflow",
            )
        return values

    def flat(self, name: str, count: int, of: str) -> NDArray[np.float64]:
        """Return one of any shape as so many values; raises EngineFailed for another number of them."""
        array = self.raw(name)
        if array.size != count:
            raise EngineFailed(f"{self._called(name)} has {array.size} values, its card {count} {of}", remedy=_REMEDY)
        return self.finite(name).reshape(-1).astype(np.float64)

    def shaped(self, name: str, axes: int, meaning: str) -> Floats:
        """Return one with so many axes, those of length 1 before them dropped; raises EngineFailed for others."""
        values: Floats = self.unwrapped(name, self.finite(name), axes, meaning)
        return values

    def unwrapped(self, name: str, values: Any, axes: int, meaning: str) -> Any:
        """Return values without the axes of length 1 before the last `axes`; raises EngineFailed for other shapes."""
        while values.ndim > axes and values.shape[0] == 1:
            values = values[0]
        if values.ndim != axes or 0 in values.shape:
            raise self.unlike(name, values.shape, meaning)
        return values

    def unlike(self, name: str, shape: tuple[int, ...], meaning: str) -> EngineFailed:
        """Return the error of an output whose shape is not what the card's head reads."""
        return EngineFailed(f"{self._called(name)} has shape {list(shape)}, its card reads {meaning}", remedy=_REMEDY)

    def strange(self, name: str, what: str) -> EngineFailed:
        """Return the error of an output with values that the card does not know."""
        return EngineFailed(f"{self._called(name)} has {what}", remedy=_REMEDY)

    def _called(self, name: str) -> str:
        return f"output {name!r} of model {self.model!r}"


def softmax(values: Any, axis: int = -1) -> Any:
    """Return shares that add up to 1 along an axis, without overflow."""
    with np.errstate(over="ignore"):  # a difference beyond FP32 is as good as infinite: its share is 0
        powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def sigmoid(values: Any) -> Any:
    """Return 1 / (1 + exp(-values)), without overflow on either side of 0."""
    small = np.exp(-np.abs(values))
    return np.where(values >= 0, 1 / (1 + small), small / (1 + small))
