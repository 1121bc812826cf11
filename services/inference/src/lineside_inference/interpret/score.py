"""One number for the whole part, judged by a threshold or by bands."""

from lineside.contract import Finding
from lineside_inference.interpret.judgement import DIGITS, Judgement, compare
from lineside_inference.interpret.outputs import Outputs
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Band, Score


def score(outputs: Outputs, head: Score, card: Card, thresholds: Thresholds) -> Judgement:
    """Judge an output of one value.

    Without bands it fails the part at or above its label's threshold and passes it below; with bands the verdict is
    that of the band in which it lies, and the thresholds say nothing.
    """
    label = card.labels_of(head)[0]
    return by_value(label, round(float(outputs.flat(head.name, 1, "label")[0]), DIGITS), head, thresholds)


def by_value(label: str, value: float, head: Score, thresholds: Thresholds) -> Judgement:
    """Judge the rounded value."""
    if head.bands is not None:
        return _by_band(label, value, head.bands)
    reason = compare(label, value, thresholds.of(label))
    if value >= thresholds.of(label):
        return Judgement("fail", reason, (Finding(label=label, confidence=value),), {label: value})
    return Judgement("pass", reason, (), {label: value})


def _by_band(label: str, value: float, bands: tuple[Band, ...]) -> Judgement:
    place = next(index for index, band in enumerate(bands) if band.below is None or value < band.below)
    band = bands[place]
    ends = [f"{end:g}" for end in (bands[place - 1].below if place else None, band.below) if end is not None]
    if len(ends) > 1:
        where = f"{ends[0]} to {ends[1]}"
    elif ends:
        where = f"below {ends[0]}" if band.below is not None else f"from {ends[0]}"
    else:
        where = "any value"
    findings = (Finding(label=label, confidence=value),) if band.verdict == "fail" else ()
    return Judgement(band.verdict, f"{label} {value:g} is {band.name} ({where})", findings, {label: value})
