"""The thresholds in force for one model: the operator's policy over the card's."""

from dataclasses import dataclass

from lineside.contract import Policy
from lineside_inference.models.card import DEFAULT_THRESHOLD, Card


@dataclass(frozen=True)
class Thresholds:
    """The thresholds in force for one model, by label, and the one for labels that are not named."""

    named: dict[str, float]
    default: float

    def of(self, label: str) -> float:
        """Return a label's threshold."""
        return self.named.get(label, self.default)


def thresholds(policy: Policy, card: Card) -> Thresholds:
    """Return what is in force: the policy's for the label, the policy's default, the card's, the card's default.

    A policy's `default` therefore overrides every threshold of the card that the policy does not name: the operator
    who turns the line's one knob turns it for all labels.
    """
    if "default" in policy.thresholds:
        return Thresholds(dict(policy.thresholds), policy.thresholds["default"])
    default = card.thresholds.get("default", DEFAULT_THRESHOLD)
    return Thresholds({**card.thresholds, **policy.thresholds}, default)
