"""Whether an engine does what its model does: both judge the same made-up parts, and their outputs are compared."""

from collections.abc import Awaitable, Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Request
from lineside_inference.models.store import Model
from lineside_inference.usecases.warm_up import parts

Outputs = Mapping[str, NDArray[np.generic]]


class Wrong(Exception):
    """The engine's outputs are not its model's; the text says in what."""


async def prove(
    plan: Model,
    model: Model,
    outputs_of: Callable[[Request, Model], Awaitable[Outputs]],
    *,
    times: int,
    within_s: float,
    tolerance: float,
) -> float:
    """Compare the two on so many parts and return the largest difference; raises Wrong, or what a request raises."""
    largest = 0.0
    async for part in parts(model, times=times, within_s=within_s):
        ours, theirs = await outputs_of(part, model), await outputs_of(part, plan)
        for name, expected in ours.items():
            difference = compare(name, expected, theirs[name])
            if difference > tolerance:
                raise Wrong(
                    f"output {name!r} differs from ONNX's by {difference:.3g} of its largest value; {tolerance:g} is "
                    "allowed (inference.tensorrt.tolerance)"
                )
            largest = max(largest, difference)
    return largest


def compare(name: str, expected: NDArray[np.generic], found: NDArray[np.generic]) -> float:
    """Return how far an output is off, 0 for the same.

    Of fractions the largest difference as a share of the largest expected magnitude; of whole numbers the share that
    differs. Raises Wrong where the two cannot be compared.
    """
    if expected.shape != found.shape or expected.dtype != found.dtype:
        was, now = f"{expected.dtype} {list(expected.shape)}", f"{found.dtype} {list(found.shape)}"
        raise Wrong(f"output {name!r} is {now}, and ONNX's is {was}")
    if expected.size == 0:
        return 0.0
    if not np.issubdtype(expected.dtype, np.floating):
        return float(np.mean(expected != found))
    ours, theirs = expected.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isfinite(ours), np.isfinite(theirs)) or not np.isfinite(theirs).any():
        raise Wrong(f"output {name!r} has infinite values, or values that are no numbers, where ONNX's has not")
    is_finite = np.isfinite(ours)
    scale = float(np.max(np.abs(ours[is_finite])))
    difference = float(np.max(np.abs(ours[is_finite] - theirs[is_finite])))
    return difference / scale if scale > 0 else difference
