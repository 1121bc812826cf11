"""Raw: numbers that the card gives no meaning, shown and not judged."""

import numpy as np

from lineside_inference.interpret.judgement import DIGITS, Judgement
from lineside_inference.interpret.outputs import Outputs
from lineside_inference.models.heads import Raw

MAX_VALUES = 64
"""An output of more values is shown by its lowest, highest and mean."""


def judge_raw(outputs: Outputs, head: Raw) -> Judgement:
    """Return verdict unknown; the scores are the output's values as `name[index]`, or what sums them up."""
    values = outputs.finite(head.name)
    reason = f"raw output: {head.name} {list(outputs.raw(head.name).shape)} has no verdict"
    if values.size == 0:
        return Judgement("unknown", reason, (), {})
    if values.size <= MAX_VALUES:
        shown = {f"{head.name}[{index}]": value for index, value in enumerate(values.reshape(-1).tolist())}
    else:
        middle = float((values.astype(np.float64) / values.size).sum())  # in this order, for it cannot overflow
        shown = {f"{head.name}.{what}": float(value) for what, value in _sums(values.min(), values.max(), middle)}
    return Judgement("unknown", reason, (), {name: round(value, DIGITS) for name, value in shown.items()})


def _sums(lowest: float, highest: float, mean: float) -> tuple[tuple[str, float], ...]:
    return (("max", highest), ("mean", mean), ("min", lowest))
