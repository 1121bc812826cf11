"""How a stage stands, by the executions of its devices. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from lineside_fleet.aws.deployments import Execution
from lineside_fleet.rollout_file import FailureSettings

FAILED = ("FAILED", "REJECTED", "TIMED_OUT")
TAKEN_BACK = ("CANCELED", "REMOVED")
ENDED = ("SUCCEEDED", *FAILED, *TAKEN_BACK)


@dataclass(frozen=True)
class Standing:
    """Whether a stage is done; `done_at` is when its last device ended (seconds since 1970)."""

    state: Literal["running", "done", "failed"]
    counts: Mapping[str, int]
    why: str
    done_at: float = 0.0

    @property
    def failed(self) -> int:
        """How many devices failed."""
        return sum(self.counts.get(status, 0) for status in FAILED)


def judge(
    executions: Mapping[str, Execution],
    things: Sequence[str],
    rules: FailureSettings,
    *,
    deployed_at: float,
    now: float,
) -> Standing:
    """Return how a stage of these things stands; one that AWS has told nothing yet counts as QUEUED."""
    found = {thing: executions.get(thing, Execution("QUEUED", deployed_at)) for thing in things}
    counts = dict(sorted(Counter(each.status for each in found.values()).items()))
    total, succeeded = len(things), counts.get("SUCCEEDED", 0)
    failed = sum(counts.get(status, 0) for status in FAILED)
    still_open = sum(number for status, number in counts.items() if status not in ENDED)
    of_all = f"of {total} devices"
    if 100 * failed > rules.most_percent * total:
        return Standing("failed", counts, f"{failed} {of_all} failed; {rules.most_percent:g} % may")
    over = now - deployed_at >= 60 * rules.patience_minutes
    if still_open and not over:
        return Standing("running", counts, f"{succeeded} {of_all} have succeeded, {still_open} have not ended")
    enough = min(rules.enough_percent, 100 - rules.most_percent)
    if 100 * succeeded < enough * total:
        when = f" within {rules.patience_minutes} minutes" if still_open else ""
        why = f"only {succeeded} {of_all} have succeeded{when}; {enough:g} % must"
        return Standing("failed", counts, why)
    ended = [each.updated for each in found.values() if each.status in ENDED]
    # AWS may be ahead of this clock.
    done_at = deployed_at + 60 * rules.patience_minutes if still_open else min(now, max(ended, default=deployed_at))
    left = f", {still_open} are not waited for any more" if still_open else ""
    return Standing("done", counts, f"{succeeded} {of_all} have succeeded{left}", done_at)
