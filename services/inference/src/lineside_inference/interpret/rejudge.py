"""A Result judged again under other thresholds, by the functions that judged it, without running the model again."""

from lineside.contract import Finding, Result
from lineside_inference.interpret import join
from lineside_inference.interpret.anomaly import by_score
from lineside_inference.interpret.classification import by_scores
from lineside_inference.interpret.judgement import Judgement, by_defects
from lineside_inference.interpret.score import by_value
from lineside_inference.interpret.thresholds import Thresholds
from lineside_inference.models.card import Card
from lineside_inference.models.heads import Anomaly, Classification, Detection, Raw, Score, Segmentation


def rejudge(result: Result, card: Card, thresholds: Thresholds) -> Judgement | None:
    """Return what the part would have been judged by these thresholds.

    None where nothing can be said: the part was not judged, or not by this version of the model, or the card has raw
    heads only. It is the verdict that `interpret` would give where `is_exact`, else close to it.
    """
    if result.status != "ok" or result.model is None:
        return None
    if (result.model.name, result.model.version) != (card.name, card.version):
        return None
    judged = []
    for head in card.heads:
        if isinstance(head, Raw):
            continue
        labels = [label for label in card.labels_of(head) if label != head.excluded()]
        if not all(label in result.scores for label in labels):
            return None
        judged.append(_judge(result, head, card, thresholds))
    return join(judged, judged) if judged else None


def is_exact(card: Card) -> bool:
    """Whether scores and findings alone decide.

    Regions of a map are others with each threshold, and of a label that two heads have only the higher score is known.
    """
    labels = [label for head in card.heads if not isinstance(head, Raw) for label in card.labels_of(head)]
    by_regions = any(
        (isinstance(head, Segmentation) and head.format == "masks")
        or (isinstance(head, Anomaly) and head.kind == "map")
        for head in card.heads
    )
    return not by_regions and len(set(labels)) == len(labels)


def _judge(
    result: Result, head: Classification | Score | Detection | Segmentation | Anomaly, card: Card, limits: Thresholds
) -> Judgement:
    labels = card.labels_of(head)
    scores = {label: value for label, value in result.scores.items() if label in labels}
    found = [one for one in result.findings if one.label in labels]
    if isinstance(head, Classification):
        return by_scores(scores, head, card, limits)
    if isinstance(head, Score):
        return by_value(labels[0], scores[labels[0]], head, limits)
    if isinstance(head, Anomaly):
        # A score of its own may be below the map's regions: each fails the part.
        highest = max([scores[labels[0]], *(one.confidence for one in found)])
        return by_score(labels[0], highest, limits.of(labels[0]))
    surest = {one.label: one.confidence for one in sorted(found, key=lambda one: one.confidence)}
    # The Result does not list every box: some were left out, others lay below the head's own threshold.
    floor = head.score_threshold if isinstance(head, Detection) else 0.0
    found += [
        Finding(label=label, confidence=value)
        for label, value in scores.items()
        if value > surest.get(label, 0.0) and (value < floor or result.findings_omitted)
    ]
    return by_defects(found, scores, card.defects, limits, most=head.max_findings)
