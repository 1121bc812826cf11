"""What the last parts would have been judged under another policy."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lineside.contract import Policy, Result, Verdict
from lineside_inference.interpret.rejudge import is_exact, rejudge
from lineside_inference.interpret.thresholds import thresholds
from lineside_inference.models.card import Card


@dataclass(frozen=True)
class Changed:
    """One part that would have got another verdict; `id` is its request's."""

    id: str
    before: Verdict
    after: Verdict
    reason: str


@dataclass(frozen=True)
class Preview:
    """The verdicts of the same parts under two policies, and the parts whose verdict differs.

    `is_exact` is False where a model's regions depend on the thresholds: its parts are then judged by what was found.
    """

    before: Mapping[Verdict, int]
    after: Mapping[Verdict, int]
    changed: tuple[Changed, ...]
    is_exact: bool


def preview(
    results: Iterable[Result], cards: Mapping[str, Card], current: Policy, proposed: Policy, limit: int
) -> Preview:
    """Judge results again, by the policy in force and by the proposed one; `cards` are those in force, by model.

    Results that were not judged by one of these cards are left out; of the others at most `limit` are compared. Only
    thresholds count: switching judging off, other versions and the choice of evidence change no verdict that was given.
    """
    limits = {name: (thresholds(current, card), thresholds(proposed, card)) for name, card in cards.items()}
    before, after = Counter[Verdict](), Counter[Verdict]()
    changed = []
    judged = set[str]()
    for result in results:
        if before.total() == limit:
            break
        if result.model is None or result.model.name not in cards:
            continue
        card = cards[result.model.name]
        was, would = (rejudge(result, card, each) for each in limits[card.name])
        if was is None or would is None:
            continue
        judged.add(card.name)
        before[was.verdict] += 1
        after[would.verdict] += 1
        if was.verdict != would.verdict:
            changed.append(Changed(result.request_id, was.verdict, would.verdict, would.reason))
    return Preview(before, after, tuple(changed), all(is_exact(cards[name]) for name in judged))
