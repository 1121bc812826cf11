"""From a model's outputs to findings, scores and a verdict, by its card and the thresholds in force.

Pure functions: values in, a Judgement out. Each head has a module; `interpret` runs those of the card and joins their
judgements.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Verdict
from lineside_inference.imaging.geometry import Geometry
from lineside_inference.interpret.anomaly import judge_anomaly
from lineside_inference.interpret.classification import classify
from lineside_inference.interpret.detection import detect
from lineside_inference.interpret.judgement import Judgement, ranked
from lineside_inference.interpret.outputs import Outputs
from lineside_inference.interpret.raw import judge_raw
from lineside_inference.interpret.score import score
from lineside_inference.interpret.segmentation import segment
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Anomaly, Classification, Detection, Head, Raw, Score

__all__ = ["LARGE", "Judgement", "interpret", "is_large"]

LARGE = 16_384
"""Outputs of more values than this take milliseconds: they are interpreted in a worker thread."""


_WORST_FIRST: tuple[Verdict, ...] = ("fail", "unknown", "pass")


def interpret(
    outputs: Mapping[str, NDArray[np.generic]], card: Card, thresholds: Thresholds, geometry: Geometry | None = None
) -> Judgement:
    """Judge the outputs of one answer, by name, each with or without a batch dimension of 1.

    `geometry` says where the image lies in the model's input; None where the input is no image: boxes are then
    those of the model. Of several heads the worst verdict counts, fail before unknown before pass; raw heads have none
    beside others. Raises EngineFailed where an output is not what the card says, OutputNotFinite for NaN or infinity.
    """
    given = Outputs(card.name, outputs)
    judged = [_judge(given, head, card, thresholds, geometry) for head in card.heads]
    if len(judged) == 1:
        return judged[0]
    return join(judged, [one for one, head in zip(judged, card.heads, strict=True) if not isinstance(head, Raw)])


def is_large(outputs: Mapping[str, NDArray[np.generic]]) -> bool:
    """Whether interpreting them takes long enough to be done in a worker thread."""
    return sum(array.size for array in outputs.values()) > LARGE


def _judge(outputs: Outputs, head: Head, card: Card, thresholds: Thresholds, geometry: Geometry | None) -> Judgement:
    if isinstance(head, Classification):
        return classify(outputs, head, card, thresholds)
    if isinstance(head, Score):
        return score(outputs, head, card, thresholds)
    if isinstance(head, Detection):
        return detect(outputs, head, card, thresholds, geometry)
    if isinstance(head, Anomaly):
        return judge_anomaly(outputs, head, card, thresholds, geometry)
    if isinstance(head, Raw):
        return judge_raw(outputs, head)
    return segment(outputs, head, card, thresholds, geometry)


def join(judged: Sequence[Judgement], counting: Sequence[Judgement]) -> Judgement:
    """Return one judgement of several heads': the worst verdict of those `counting`, the scores of all."""
    counting = counting or judged
    verdict = min((one.verdict for one in counting), key=_WORST_FIRST.index)
    scores: dict[str, float] = {}
    for one in judged:
        for label, value in one.scores.items():
            scores[label] = max(value, scores.get(label, value))
    return Judgement(
        verdict=verdict,
        reason="; ".join(one.reason for one in counting if one.verdict == verdict),
        findings=tuple(sorted((found for one in judged for found in one.findings), key=lambda it: -it.confidence)),
        scores=ranked(scores),
        omitted=sum(one.omitted for one in judged),
        heat=next((one.heat for one in judged if one.heat is not None), None),
    )
