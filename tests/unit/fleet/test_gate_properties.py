"""What holds of the gate whatever the data: worse is never judged better, names and units of measure mean nothing."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation
from lineside_fleet.gate.observations import Cell, Observations, Samples
from lineside_fleet.gate.settings import GateSettings
from tests.support.simulated_rollouts import Fleet, Truth, draw

ORDER = {"promote": 0, "hold": 1, "stop": 2}
GATE = GateSettings.model_validate(
    {"latency": {"slower": 0.1}, "unknowns": {"ratio": 2, "allowance": 0.02}, "looks": 1, "parts": 1}
)
EXAMPLES = settings(max_examples=25)

fleets = st.builds(
    Fleet,
    devices=st.integers(1, 12),
    parts=st.sampled_from((240, 900, 2400)),
    same_devices=st.booleans(),
    spread=st.sampled_from((0.02, 0.3)),
    slices=st.sampled_from((3, 6)),
)
truths = st.builds(
    Truth,
    latency=st.floats(0.8, 1.3),
    unknowns=st.floats(0.3, 4),
    fails=st.floats(0.3, 3),
    confidence=st.floats(-0.5, 0.5),
)
seeds = st.integers(0, 2**32 - 1)


def sides(fleet: Fleet, truth: Truth, seed: int) -> tuple[Observations, Observations]:
    before, after = draw(fleet, truth, np.random.default_rng(seed))
    return before.until(fleet.slices, "1"), after.until(fleet.slices, "2")


def changed(side: Observations, change: Callable[[Cell], Cell]) -> Observations:
    return replace(side, cells=tuple(map(change, side.cells)))


def verdicts(found: Evaluation) -> dict[str, str]:
    return {metric.name: metric.verdict for metric in found.metrics}


@EXAMPLES
@given(fleets, truths, seeds, st.floats(1, 3))
def test_slower_is_never_judged_better(fleet: Fleet, truth: Truth, seed: int, factor: float) -> None:
    def slower(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        return replace(cell, latency=Samples(cell.latency.values * factor))

    before, after = sides(fleet, truth, seed)
    better, worse = (verdicts(evaluate(GATE, before, side, 1)) for side in (after, changed(after, slower)))
    assert ORDER[worse["latency_p95"]] >= ORDER[better["latency_p95"]]
    assert {name: verdict for name, verdict in worse.items() if name != "latency_p95"} == {
        name: verdict for name, verdict in better.items() if name != "latency_p95"
    }


@EXAMPLES
@given(fleets, truths, seeds, st.integers(1, 8))
def test_more_unknowns_never_turn_stop_into_promote(fleet: Fleet, truth: Truth, seed: int, more: int) -> None:
    def worse(cell: Cell) -> Cell:
        parts, unknowns, fails = cell.parts or 0, cell.unknowns or 0, cell.fails or 0
        return replace(cell, unknowns=min(unknowns + more, parts - fails))

    before, after = sides(fleet, truth, seed)
    found = [verdicts(evaluate(GATE, before, side, 1))["unknown_rate"] for side in (after, changed(after, worse))]
    assert found != ["stop", "promote"]


@EXAMPLES
@given(fleets, truths, seeds, st.randoms(use_true_random=False))
def test_the_order_of_cells_and_of_values_means_nothing(fleet: Fleet, truth: Truth, seed: int, random: object) -> None:
    before, after = sides(fleet, truth, seed)
    shuffled = list(after.cells)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def reversed_values(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        return replace(cell, latency=Samples(cell.latency.values[::-1].copy()))

    other = changed(replace(after, cells=tuple(shuffled)), reversed_values)
    assert verdicts(evaluate(GATE, before, other, 1)) == verdicts(evaluate(GATE, before, after, 1))


@EXAMPLES
@given(fleets, truths, seeds)
def test_names_of_devices_mean_nothing(fleet: Fleet, truth: Truth, seed: int) -> None:
    def renamed(cell: Cell) -> Cell:
        return replace(cell, device=f"z{cell.device[::-1]}")

    before, after = sides(fleet, truth, seed)
    other = evaluate(GATE, changed(before, renamed), changed(after, renamed), 1)
    assert verdicts(other) == verdicts(evaluate(GATE, before, after, 1))


@EXAMPLES
@given(fleets, truths, seeds, st.sampled_from((0.001, 0.1, 60.0)))
def test_the_unit_of_latency_means_nothing(fleet: Fleet, truth: Truth, seed: int, unit: float) -> None:
    def scaled(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        return replace(cell, latency=Samples(cell.latency.values * unit))

    before, after = sides(fleet, truth, seed)
    first = evaluate(GATE, before, after, 1).metrics[0]
    second = evaluate(GATE, changed(before, scaled), changed(after, scaled), 1).metrics[0]
    assert first.verdict == second.verdict
    if first.estimate is not None and second.estimate is not None:
        assert np.isclose(first.estimate, second.estimate)


@EXAMPLES
@given(fleets, truths, seeds)
def test_a_side_against_itself_is_never_stopped(fleet: Fleet, truth: Truth, seed: int) -> None:
    _before, after = sides(fleet, truth, seed)
    assert evaluate(GATE, after, after, 1).verdict != "stop"


@EXAMPLES
@given(fleets, truths, seeds)
def test_a_verdict_is_what_its_metrics_are(fleet: Fleet, truth: Truth, seed: int) -> None:
    found = evaluate(GATE, *sides(fleet, truth, seed), 1)
    if found.verdict == "promote":
        assert not found.problems
        assert {metric.verdict for metric in found.metrics} == {"promote"}
    for metric in found.metrics:
        if metric.verdict == "promote":
            assert metric.p_promote is not None
            assert metric.p_promote <= metric.level_promote * 1.01
            assert metric.code is None
        if metric.estimate is None:
            assert metric.verdict == "hold"
            assert metric.code
