"""The gate's verdicts on fleets whose truth is known, and on data that cannot be judged."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from lineside.errors import LinesideError
from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation, Look
from lineside_fleet.gate.observations import Bins, Cell, Observations, Quantiles, Samples, Window
from lineside_fleet.gate.settings import GateSettings
from tests.support.simulated_rollouts import BEGAN, EQUAL, Fleet, Truth, draw

FLEET = Fleet(devices=12, parts=7500)
LATENCY = GateSettings(throughput=None, errors=None, unknowns=None, defects=None, confidence=None, looks=1)


def sides(truth: Truth = EQUAL, fleet: Fleet = FLEET, seed: int = 1) -> tuple[Observations, Observations]:
    baseline, staged = draw(fleet, truth, np.random.default_rng(seed))
    return baseline.until(fleet.slices, "1"), staged.until(fleet.slices, "2")


def metric(found: Evaluation, name: str) -> Any:
    return next(each for each in found.metrics if each.name == name)


def changed(side: Observations, change: Callable[[Cell], Cell]) -> Observations:
    return replace(side, cells=tuple(map(change, side.cells)))


def test_an_equal_version_is_promoted_with_the_numbers() -> None:
    found = evaluate(GateSettings(), *sides(), 3)
    assert found.verdict == "promote", found.sentence
    assert {each.verdict for each in found.metrics} == {"promote"}
    latency = metric(found, "latency_p95")
    assert latency.low < latency.estimate < latency.high <= latency.allowed_high == 1.05
    assert latency.p_promote <= latency.level_promote
    assert latency.staged_size.devices == 12
    assert Evaluation.model_validate_json(found.model_dump_json(by_alias=True)) == found


@pytest.mark.parametrize(
    ("truth", "name"),
    [
        (Truth(latency=1.10), "latency_p95"),
        (Truth(unknowns=2.5), "unknown_rate"),
        (Truth(errors=8), "error_rate"),
        (Truth(fails=3), "defect_rate"),
        (Truth(fails=0.1), "defect_rate"),
        (Truth(confidence=-0.6), "confidence_p10"),
        (Truth(confidence=0.8), "confidence_p10"),
    ],
)
def test_a_worse_version_is_stopped_by_its_metric(truth: Truth, name: str) -> None:
    found = evaluate(GateSettings(), *sides(truth), 3)
    assert found.verdict == "stop", found.sentence
    assert metric(found, name).verdict == "stop"
    assert metric(found, name).p_stop <= metric(found, name).level_stop


def test_fewer_parts_an_hour_stop() -> None:
    baseline, staged = sides()
    staged = changed(staged, lambda cell: replace(cell, seconds=cell.seconds * 1.3))
    assert metric(evaluate(GateSettings(), baseline, staged, 3), "throughput").verdict == "stop"


def test_a_line_that_never_varies_is_known_to_a_part_of_each_device() -> None:
    even = [changed(side, lambda cell: replace(cell, seconds=7200.0)) for side in sides()]
    found = metric(evaluate(GateSettings(), even[0], even[1], 3), "throughput")
    assert found.verdict == "promote"
    assert found.low < found.estimate == 1


def test_little_data_shows_nothing_and_the_last_look_says_what_is_set() -> None:
    small = sides(fleet=Fleet(devices=8, parts=240))
    settings = GateSettings()
    assert evaluate(settings, *small, 1).verdict == "hold"
    assert evaluate(settings, *small, 3).verdict == "hold"
    found = evaluate(settings.model_copy(update={"without_proof": "stop"}), *small, 3)
    assert found.verdict == "stop"
    assert "last look" in found.sentence


def test_the_same_values_give_the_same_verdict_under_a_seed_that_is_told() -> None:
    settings = LATENCY.model_copy(update={"interval": "bootstrap", "seed": 7})
    data = sides()
    assert evaluate(settings, *data, 1) == evaluate(settings, *data, 1)
    assert evaluate(settings, *data, 1).seed == 7


def no_latency(cell: Cell) -> Cell:
    return replace(cell, latency=None)


def spoilt(value: float) -> Callable[[Cell], Cell]:
    def spoil(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        values = cell.latency.values.copy()
        if (cell.device, cell.slice) == ("d0003", 0):
            values[0] = value
        return replace(cell, latency=Samples(values))

    return spoil


def constant(cell: Cell) -> Cell:
    assert isinstance(cell.latency, Samples)
    return replace(cell, latency=Samples(np.full_like(cell.latency.values, 20.0)))


def rounded(to: float) -> Callable[[Cell], Cell]:
    def coarse(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        return replace(cell, latency=Samples(np.round(cell.latency.values / to) * to))

    return coarse


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (no_latency, "no-data", "no staged device"),
        (spoilt(float("nan")), "values-unusable", "Latency p95 of d0003: 1 of"),
        (spoilt(float("inf")), "values-unusable", "d0003"),
        (spoilt(-1.0), "values-unusable", "d0003"),
        (constant, "constant", "all 7500 values"),
        (rounded(10.0), "resolution", "too coarse"),
    ],
)
def test_latencies_that_cannot_be_judged_hold_by_name(change: Callable[[Cell], Cell], code: str, says: str) -> None:
    baseline, staged = sides()
    found = evaluate(LATENCY, baseline, changed(staged, change), 1)
    assert found.verdict == "hold"
    assert found.metrics[0].code == code
    assert says in found.metrics[0].sentence


def test_a_clock_of_a_tenth_of_a_millisecond_is_fine_enough() -> None:
    baseline, staged = (changed(side, rounded(0.1)) for side in sides())
    assert evaluate(LATENCY, baseline, staged, 1).verdict == "promote"


def test_impossible_counts_hold_by_name() -> None:
    baseline, staged = sides()
    staged = changed(staged, lambda cell: replace(cell, unknowns=(cell.parts or 0) + 1))
    assert metric(evaluate(GateSettings(), baseline, staged, 3), "unknown_rate").code == "values-unusable"
    assert metric(evaluate(GateSettings(), baseline, staged, 3), "defect_rate").verdict == "hold"


def test_a_device_that_does_nothing_holds_by_name() -> None:
    baseline, staged = sides()
    staged = changed(
        staged, lambda cell: replace(cell, parts=0, unknowns=0, errors=0, fails=0) if cell.device == "d0002" else cell
    )
    found = metric(evaluate(GateSettings(), baseline, staged, 3), "throughput")
    assert (found.verdict, found.code) == ("hold", "device-silent")
    assert "d0002" in found.sentence


@pytest.mark.parametrize("which", ["baseline", "staged"])
def test_an_empty_side_is_a_problem_by_name(which: str) -> None:
    both = dict(zip(("baseline", "staged"), sides(), strict=True))
    both[which] = replace(both[which], cells=())
    found = evaluate(GateSettings(), both["baseline"], both["staged"], 1)
    assert found.verdict == "hold"
    assert f"{which}-empty" in [problem.code for problem in found.problems]
    assert {each.verdict for each in found.metrics} == {"hold"}


def test_mixed_versions_and_too_few_parts_are_problems_by_name() -> None:
    baseline, staged = sides(fleet=Fleet(devices=6, parts=120))
    found = evaluate(GateSettings(), replace(baseline, versions=("1", "2")), staged, 1)
    assert [problem.code for problem in found.problems] == ["baseline-sample", "baseline-versions", "staged-sample"]


def test_windows_of_other_hours_are_not_compared_unless_told() -> None:
    baseline, staged = sides(Truth(latency=1.5))
    night = Window(BEGAN, BEGAN + timedelta(hours=8))
    day = Window(BEGAN + timedelta(hours=30), BEGAN + timedelta(hours=38))
    baseline, staged = replace(baseline, window=night), replace(staged, window=day)
    found = evaluate(LATENCY, baseline, staged, 1)
    assert (found.verdict, found.problems[0].code) == ("hold", "windows")
    assert evaluate(LATENCY.model_copy(update={"hours": "any"}), baseline, staged, 1).verdict == "stop"
    next_night = Window(BEGAN + timedelta(hours=24), BEGAN + timedelta(hours=32))
    assert evaluate(LATENCY, baseline, replace(staged, window=next_night), 1).problems == ()


def test_other_devices_need_enough_of_them() -> None:
    few = sides(fleet=Fleet(devices=4, parts=2400, same_devices=False))
    found = evaluate(LATENCY, *few, 1)
    assert (found.verdict, found.metrics[0].code, found.design) == ("hold", "few-devices", None)
    many = sides(fleet=Fleet(devices=30, parts=1200, same_devices=False, spread=0.02))
    assert evaluate(LATENCY, *many, 1).design == "groups"
    assert evaluate(LATENCY, *many, 1).verdict == "promote"


def test_one_device_is_judged_by_slices_of_time_and_only_for_itself() -> None:
    one = sides(fleet=Fleet(devices=1, parts=24_000, slices=12))
    found = evaluate(LATENCY, *one, 1)
    assert (found.verdict, found.design) == ("promote", "slices")
    slow = sides(Truth(latency=1.12), Fleet(devices=1, parts=24_000, slices=12))
    assert evaluate(LATENCY, *slow, 1).verdict == "stop"


def test_zero_events_on_both_sides_pass_by_the_allowance_alone() -> None:
    def quiet(cell: Cell) -> Cell:
        return replace(cell, errors=0)

    baseline, staged = (changed(side, quiet) for side in sides())
    found = metric(evaluate(GateSettings(), baseline, staged, 3), "error_rate")
    assert found.verdict == "promote"
    strict = GateSettings.model_validate({"errors": {"ratio": 2, "allowance": 0}})
    assert metric(evaluate(strict, baseline, staged, 3), "error_rate").verdict == "hold"


EDGES = np.array([0, 10, 20, 30, 40, 42, 44, 46, 50, 75, 100, 1000.0])


def binned(edges: np.ndarray) -> Callable[[Cell], Cell]:
    def bins(cell: Cell) -> Cell:
        assert isinstance(cell.latency, Samples)
        return replace(cell, latency=Bins(edges, np.histogram(cell.latency.values, edges)[0].astype(float)))

    return bins


def test_bins_wider_than_the_margin_never_promote_and_still_stop() -> None:
    coarse = binned(np.array([0, 10, 20, 30, 50, 75, 100, 200, 500.0]))
    equal = [changed(side, coarse) for side in sides(fleet=replace(FLEET, spread=0.01))]
    found = evaluate(LATENCY, equal[0], equal[1], 1)
    assert (found.verdict, found.metrics[0].code) == ("hold", "resolution")
    slow = [changed(side, coarse) for side in sides(Truth(latency=2.5), replace(FLEET, spread=0.01))]
    assert evaluate(LATENCY, slow[0], slow[1], 1).verdict == "stop"


def test_a_quantile_above_the_last_edge_is_named() -> None:
    open_ended = binned(np.array([0, 10, 20, 30, np.inf]))
    baseline, staged = (changed(side, open_ended) for side in sides())
    assert evaluate(LATENCY, baseline, staged, 1).metrics[0].code == "resolution"


def test_quantiles_of_a_source_are_taken_by_device() -> None:
    def whole(side: Observations) -> Observations:
        found = {}
        for device, cells in side.by_device.items():
            values = np.concatenate([cell.latency.values for cell in cells if isinstance(cell.latency, Samples)])
            p95 = float(np.quantile(values, 0.95))
            found[device] = Cell(device, 0, 1.0, latency=Quantiles({0.95: p95}, len(values), within=1.005))
        return replace(changed(side, no_latency), whole=found)

    baseline, staged = map(whole, sides())
    found = evaluate(LATENCY, baseline, staged, 1)
    assert found.verdict == "promote"
    assert found.metrics[0].slack == pytest.approx(1.005**2 - 1)


def test_a_look_that_was_not_planned_is_refused() -> None:
    with pytest.raises(LinesideError, match="look 4 of at most 3"):
        evaluate(GateSettings(), *sides(), 4)
    with pytest.raises(LinesideError, match="give one for each look"):
        evaluate(GateSettings(), *sides(), Look(number=2, fractions=(0.4,)))


def test_an_early_look_needs_more_proof() -> None:
    data = sides()
    first, last = (metric(evaluate(GateSettings(), *data, number), "latency_p95") for number in (1, 3))
    assert first.level_promote < last.level_promote
    assert first.high > last.high
