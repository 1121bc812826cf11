"""How often the gate is wrong over simulated rollouts: benchmarks/gate.py in small, always with the same numbers."""

from collections import Counter

import numpy as np

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.observations import Observations
from lineside_fleet.gate.settings import GateSettings
from tests.support.simulated_rollouts import EQUAL, Fleet, Truth, draw, share_over, slower_to, verdict_of

ROLLOUTS = 150
LATENCY = GateSettings(throughput=None, errors=None, unknowns=None, defects=None, confidence=None, looks=5)
FLEET = Fleet(devices=8, parts=1200, slices=5)
AT_THE_MARGIN = Truth(latency=1.05)
EDGE_MS = 40


def verdicts(settings: GateSettings, fleet: Fleet, truth: Truth, judge: object = None) -> Counter[str]:
    found: Counter[str] = Counter()
    for rollout in range(ROLLOUTS):
        sides = draw(fleet, truth, np.random.default_rng([7, rollout]))
        found[verdict_of(settings, sides, judge)[0]] += 1  # type: ignore[arg-type] - a function of a test
    return found


def unspent(settings: GateSettings, baseline: Observations, staged: Observations, _look: int) -> str:
    """Judge each look as if it were the only one."""
    return evaluate(settings.model_copy(update={"looks": 1}), baseline, staged, 1).verdict


def pooled(_settings: GateSettings, baseline: Observations, staged: Observations, look: int) -> str:
    """Judge by the p95 of all parts together, as if they were independent."""
    if look < LATENCY.looks:
        return "hold"
    logs = [np.log(np.concatenate([c.latency.values for c in side.cells])) for side in (baseline, staged)]  # type: ignore[union-attr]
    apart = np.quantile(logs[1], 0.95) - np.quantile(logs[0], 0.95)
    step = np.sqrt(0.95 * 0.05 / logs[0].size)
    error = np.hypot(*(np.diff(np.quantile(side, (0.95 - step, 0.95 + step)))[0] / 2 for side in logs))
    return "promote" if apart + 1.645 * error <= np.log(1.05) else "hold"


def test_a_version_at_the_margin_is_promoted_in_at_most_one_of_twenty_rollouts() -> None:
    assert verdicts(LATENCY, FLEET, AT_THE_MARGIN)["promote"] <= 0.05 * ROLLOUTS + 3


def test_looking_five_times_at_the_whole_level_promotes_it_far_more_often() -> None:
    assert verdicts(LATENCY, FLEET, AT_THE_MARGIN, unspent)["promote"] > 0.1 * ROLLOUTS


def test_parts_taken_as_independent_promote_it_far_more_often_where_devices_differ() -> None:
    fleet = Fleet(devices=8, parts=1200, slices=5, same_devices=False, spread=0.1)
    assert verdicts(LATENCY, fleet, AT_THE_MARGIN, pooled)["promote"] > 0.15 * ROLLOUTS
    assert verdicts(LATENCY, fleet, AT_THE_MARGIN)["promote"] <= 0.05 * ROLLOUTS + 3


def test_an_equal_version_is_not_stopped_and_a_slow_one_is() -> None:
    fleet = Fleet(devices=8, parts=2400, slices=5)
    assert verdicts(LATENCY, fleet, EQUAL)["stop"] == 0
    assert verdicts(LATENCY, fleet, Truth(latency=1.15))["stop"] > 0.9 * ROLLOUTS


def test_a_share_over_an_edge_at_its_margin_is_promoted_in_at_most_one_of_twenty_rollouts() -> None:
    settings = GateSettings.model_validate({**LATENCY.model_dump(), "latency": None, "slow": {"ms": EDGE_MS}})
    fleet = Fleet(devices=8, parts=2400, slices=5)
    at_the_margin = slower_to(1.3 * share_over(EDGE_MS, fleet) + 0.001, EDGE_MS, fleet)
    assert verdicts(settings, fleet, at_the_margin)["promote"] <= 0.05 * ROLLOUTS + 3
    assert verdicts(settings, fleet, EQUAL)["promote"] > 0.5 * ROLLOUTS
    assert verdicts(settings, fleet, Truth(latency=1.3))["stop"] > 0.9 * ROLLOUTS
