"""How often the gate is wrong, and how often it sees what is there, over simulated rollouts whose truth is known.

Beside it the gate with its levels not spent over the looks, and what people write by hand: a t test of two means at
each look, and margins held against plain figures. Then the bounds of a quantile for few devices, and the exact size of
the test of rates.
"""

import math
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from report import arguments, write
from scipy import stats

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.estimating import DRAWS, estimate
from lineside_fleet.gate.metrics import asked
from lineside_fleet.gate.observations import Observations, Samples
from lineside_fleet.gate.rates import Excess
from lineside_fleet.gate.settings import GateSettings, SlowSettings

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))
from simulated_rollouts import EQUAL, Fleet, Truth, binned, draw, share_over, slower_to

ROLLOUTS, QUICK = 2000, 40
SETTINGS = GateSettings()
PAIRS = Fleet(devices=12, parts=3999)
GROUPS = Fleet(devices=40, parts=1500, same_devices=False, spread=0.03)
SIX = replace(PAIRS, devices=6)
FEW = Fleet(devices=3, parts=14_400, slices=12)
LIMIT = 1.4
"""By which unknowns of 1 % grow to what the default settings just allow: 1.3 times 1 % and a tenth of a percent."""


def alone(metric: str, **changes: object) -> GateSettings:
    """Return the default gate with one metric only, at the level that it has among all of them.

    A version that is bad in one metric is promoted more often where no other one could hold it back.
    """
    metrics = ("latency", "throughput", "errors", "unknowns", "defects", "confidence")
    others: dict[str, object] = {name: None for name in metrics if name != metric}
    ways = sum(each.tests for each in asked(SETTINGS))
    of_metric = {"false_stop": SETTINGS.false_stop * (2 if metric == "defects" else 1) / ways}
    return SETTINGS.model_copy(update={**others, **of_metric, **changes})


@dataclass(frozen=True)
class Case:
    """One truth in one fleet, and which error it measures."""

    name: str
    fleet: Fleet
    truth: Truth
    measures: str
    settings: GateSettings = SETTINGS
    by_hand: bool = True
    unspent: bool = False
    edges: tuple[float, ...] = ()
    """Of the histogram that the gate sees in the place of latencies (ms)."""


SLOWER, MORE = Truth(latency=1.05), Truth(unknowns=LIMIT)
LATENCY, UNKNOWNS = alone("latency"), alone("unknowns")
BOOTSTRAP = alone("latency", interval="bootstrap")
OVER_MS = 40.0
EDGES = (5, 10, 15, 20, 25, 30, OVER_MS, 50, 60, 75, 100, 150, 200)
SLOW = SlowSettings(ms=OVER_MS)
OVER = alone("slow", slow=SLOW)
ALIKE = replace(FEW, spread=0.0)
"""Three devices as fast as one another: in slices the verdict is about these, so these must be at the margin."""


def at_the_edge(fleet: Fleet) -> Truth:
    """Return the truth by which the share of parts over the edge is just what is allowed, over all devices."""
    return slower_to(SLOW.ratio * share_over(OVER_MS, fleet) + SLOW.allowance, OVER_MS, fleet)


def over(name: str, fleet: Fleet, truth: Truth, measures: str) -> "Case":
    return Case(f"{name}, over 40 ms", fleet, truth, measures, OVER, by_hand=False, edges=EDGES)


CASES = (
    Case("same devices, p95 at the margin (+5 %)", PAIRS, SLOWER, "false promotion", LATENCY, unspent=True),
    Case("same devices, unknowns at the margin", PAIRS, MORE, "false promotion", UNKNOWNS, unspent=True),
    Case("same devices, equal", PAIRS, EQUAL, "false stop"),
    Case("same devices, p95 10 % slower", PAIRS, Truth(latency=1.10), "power", LATENCY),
    Case("same devices, unknowns doubled", PAIRS, Truth(unknowns=2.0), "power", UNKNOWNS),
    Case("three devices, p95 at the margin", FEW, SLOWER, "false promotion", LATENCY, by_hand=False),
    Case("other devices, p95 at the margin", GROUPS, SLOWER, "false promotion", LATENCY, by_hand=False),
    Case("three devices, unknowns at the margin", FEW, MORE, "false promotion", UNKNOWNS, by_hand=False),
    Case("other devices, unknowns at the margin", GROUPS, MORE, "false promotion", UNKNOWNS, by_hand=False),
    Case("same, and devices react differently", PAIRS, Truth(latency=1.05, uneven=0.03), "false promotion", LATENCY),
    Case("three devices, equal", FEW, EQUAL, "false stop", by_hand=False),
    Case("other devices, equal", GROUPS, EQUAL, "false stop", by_hand=False),
    Case("same devices, defects at the margin", PAIRS, Truth(fails=1.75), "false promotion", alone("defects")),
    Case("same devices, p95, by the bootstrap", PAIRS, SLOWER, "false promotion", BOOTSTRAP, by_hand=False),
    over("same devices at the margin", PAIRS, at_the_edge(PAIRS), "false promotion"),
    over("six devices at the margin", SIX, at_the_edge(SIX), "false promotion"),
    over("other devices at the margin", GROUPS, at_the_edge(GROUPS), "false promotion"),
    over("three devices at the margin", ALIKE, at_the_edge(ALIKE), "false promotion"),
    over("same devices, equal", PAIRS, EQUAL, "false stop"),
    over("same devices, 10 % slower", PAIRS, Truth(latency=1.10), "power"),
    over("same devices, 20 % slower", PAIRS, Truth(latency=1.20), "power"),
)
JUDGES = ("gate", "unspent", "t test", "by eye")


def main() -> None:
    given = arguments("how often the gate is wrong, beside what people write by hand")
    rollouts = QUICK if given.quick else ROLLOUTS
    found: dict[str, dict[str, dict[str, float]]] = {}
    began = time.monotonic()
    print(f"{rollouts} rollouts each; promote / hold / stop in percent\n")
    print(f"{'':<42}" + "".join(f"{judge:>20}" for judge in JUDGES))
    with multiprocessing.Pool(len(os.sched_getaffinity(0)) + 2) as pool:
        for number, case in enumerate(CASES):
            verdicts = pool.map(one, [(case, number, rollout) for rollout in range(rollouts)], chunksize=10)
            found[case.name] = {judge: shares([each[place] for each in verdicts]) for place, judge in enumerate(JUDGES)}
            cells = [found[case.name][judge] for judge in JUDGES]
            text = "".join(f"{shown(cell):>20}" for cell in cells)
            print(f"{case.name:<42}{text}  {case.measures}", flush=True)
        print(f"\n{time.monotonic() - began:.0f} s\n")
        quantiles = quantile_sizes(pool, rollouts)
    sizes = rate_sizes()
    worst = {
        judge: max(found[case.name][judge]["promote"] for case in CASES if case.measures == "false promotion")
        for judge in JUDGES
    }
    stops = {
        judge: max(found[case.name][judge]["stop"] for case in CASES if case.measures == "false stop")
        for judge in JUDGES
    }
    figures = {
        "rollouts": rollouts,
        "verdicts": found,
        "quantile_sizes": quantiles,
        "rate_sizes": sizes,
        "false_promotions": worst,
        "false_stops": stops,
    }
    write(
        given.json,
        figures=figures,
        ratios={
            "false_promotions_against_by_eye": worst["by eye"] / max(worst["gate"], 1 / rollouts),
            "false_stops_against_t_test": stops["t test"] / max(stops["gate"], 1 / rollouts),
        },
    )


VERDICTS = ("promote", "hold", "stop")


def shown(cell: dict[str, float]) -> str:
    return " / ".join(f"{100 * cell[verdict]:.1f}" for verdict in VERDICTS) if sum(cell.values()) else "-"


def shares(verdicts: Sequence[str]) -> dict[str, float]:
    counted = Counter(verdicts)
    return {verdict: counted[verdict] / len(verdicts) for verdict in VERDICTS}


def one(task: tuple[Case, int, int]) -> tuple[str, ...]:
    """Return what each judge ends a rollout with."""
    case, number, rollout = task
    baseline, staged = draw(case.fleet, case.truth, np.random.default_rng([case.settings.seed, number, rollout]))
    looks = case.settings.looks
    seen = [
        (baseline.until(at, "1"), staged.until(at, "2"))
        for at in (case.fleet.slices * k // looks for k in range(1, looks + 1))
    ]
    if case.edges:
        seen = [tuple(binned(side, case.edges) for side in sides) for sides in seen]
    always = case.settings.model_copy(update={"looks": 1})
    return (
        first(evaluate(case.settings, *sides, number).verdict for number, sides in enumerate(seen, 1)),
        first(evaluate(always, *sides, 1).verdict for sides in seen) if case.unspent else "none",
        first(by_t_test(*sides, is_last=number == looks) for number, sides in enumerate(seen, 1))
        if case.by_hand
        else "none",
        by_eye(*seen[-1]) if case.by_hand else "none",
    )


def first(verdicts: Iterable[str]) -> str:
    return next((verdict for verdict in verdicts if verdict != "hold"), "hold")


def by_t_test(baseline: Observations, staged: Observations, *, is_last: bool) -> str:
    """Return what a hand-written gate says: stop where the mean or a rate is significantly worse, else promote."""
    before, after = latencies(baseline), latencies(staged)
    error = math.sqrt(before.var(ddof=1) / before.size + after.var(ddof=1) / after.size)
    slower = (after.mean() - before.mean()) / error
    p, q, n, m = *(unknown_share(side) for side in (baseline, staged)), baseline.parts, staged.parts
    middle = (p * n + q * m) / (n + m)
    more = (q - p) / math.sqrt(middle * (1 - middle) * (1 / n + 1 / m)) if middle else 0.0
    if max(slower, more) > stats.norm.ppf(0.95):
        return "stop"
    return "promote" if is_last else "hold"


def by_eye(baseline: Observations, staged: Observations) -> str:
    """Return what the margins say of plain figures: the mean at most 5 % slower, unknowns below theirs."""
    slow = latencies(staged).mean() > 1.05 * latencies(baseline).mean()
    return "stop" if slow or unknown_share(staged) > 1.3 * unknown_share(baseline) + 0.001 else "promote"


def latencies(side: Observations) -> np.ndarray:
    return np.concatenate([cell.latency.values for cell in side.cells if isinstance(cell.latency, Samples)])


def unknown_share(side: Observations) -> float:
    return sum(cell.unknowns or 0 for cell in side.cells) / side.parts


METHODS = ("Student's t by device", "bootstrap-t by device", "percentile bootstrap by device", "parts as independent")


def quantile_sizes(pool: Pool, rollouts: int) -> dict[str, dict[str, float]]:
    """Return how often one look at level 5 % shows a p95 to be within the margin that is just at it."""
    print("false promotions of one look at a p95 at the margin, in percent (5 allowed)\n")
    print(f"{'devices, 1200 parts each':<32}" + "".join(f"{count:>8}" for count in (6, 8, 12, 20, 40)))
    found: dict[str, dict[str, float]] = {method: {} for method in METHODS}
    for count in (6, 8, 12, 20, 40):
        hits = pool.map(quantile_hits, [(count, rollout) for rollout in range(rollouts)], chunksize=20)
        for method, share in zip(METHODS, np.mean(hits, axis=0), strict=True):
            found[method][str(count)] = float(share)
    for method, by_count in found.items():
        print(f"{method:<32}" + "".join(f"{100 * share:>8.1f}" for share in by_count.values()))
    print()
    return found


def quantile_hits(given: tuple[int, int]) -> tuple[bool, ...]:
    count, rollout = given
    random = np.random.default_rng([count, rollout])
    fleet = replace(PAIRS, devices=count, parts=1200)
    before, after = (side.latency for side in draw(fleet, Truth(latency=1.05, uneven=0.02), random))
    logs = [np.log(np.quantile(side, 0.95, axis=1, method="median_unbiased")) for side in (before, after)]
    by_device = [{str(row): [float(value)] for row, value in enumerate(side)} for side in logs]
    found = estimate("pairs", by_device[0], by_device[1], bootstrap=random)
    limit = math.log(1.05)
    differences = logs[1] - logs[0]
    drawn = differences[random.integers(count, size=(DRAWS, count))].mean(axis=1)
    apart = math.log(np.quantile(after, 0.95) / np.quantile(before, 0.95))
    error = math.hypot(*(woodruff(side.ravel()) for side in (before, after)))
    return (
        replace(found, drawn=None).high(0.05) <= limit,
        found.value - float(np.quantile(found.drawn if found.drawn is not None else [], 0.05)) * found.error <= limit,
        float(np.quantile(drawn, 0.95)) <= limit,
        apart + 1.645 * error <= limit,
    )


def woodruff(values: np.ndarray) -> float:
    """Return the standard error of the logarithm of a p95, were parts independent."""
    step = math.sqrt(0.95 * 0.05 / values.size)
    low, high = np.quantile(values, (0.95 - step, 0.95 + step))
    return math.log(high / low) / 2


def rate_sizes() -> dict[str, dict[str, float]]:
    """Return the exact probability that a rate just at its margin is shown to be within, for independent parts."""
    print("exact size of the test of a rate at its margin, independent parts, in percent (5 allowed)\n")
    cases = [(share, parts) for share in (0.002, 0.01, 0.02) for parts in (2000, 10_000)]
    print(f"{'share before, parts a side':<32}" + "".join(f"{f'{100 * s:g} %, {n}':>14}" for s, n in cases))
    found: dict[str, dict[str, float]] = {"exact bounds (ours)": {}, "normal approximation": {}}
    for share, parts in cases:
        limit = 1.3 * share + 0.001
        supports = [support(at, parts) for at in (share, limit)]
        ours = hand = 0.0
        for before, p in supports[0]:
            for after, q in supports[1]:
                excess = Excess((before, parts), (after, parts), 1.3, 0.001, 1.0, 1e9)
                a, b = before / parts, after / parts
                error = math.sqrt((b * (1 - b) + 1.3**2 * a * (1 - a)) / parts)
                ours += p * q * (excess.high(0.05) <= 0)
                hand += p * q * (excess.value + 1.645 * error <= 0)
        for name, size in (("exact bounds (ours)", ours), ("normal approximation", hand)):
            found[name][f"{share:g}, {parts}"] = size
    for name, row in found.items():
        print(f"{name:<32}" + "".join(f"{100 * size:>14.2f}" for size in row.values()))
    print()
    return found


def support(share: float, parts: int) -> list[tuple[int, float]]:
    low, high = (int(stats.binom.ppf(at, parts, share)) for at in (1e-6, 1 - 1e-6))
    return [(count, float(stats.binom.pmf(count, parts, share))) for count in range(low, high + 1)]


if __name__ == "__main__":
    main()
