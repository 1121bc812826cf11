"""The share of values beyond an edge: counted alike of values and of a histogram's buckets."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineside_fleet.gate import beyond
from lineside_fleet.gate.comparison import NotCompared
from lineside_fleet.gate.deciding import evaluate
from lineside_fleet.gate.evaluation import Evaluation
from lineside_fleet.gate.observations import Bins, Observations, Quantiles, Samples
from lineside_fleet.gate.settings import GateSettings
from tests.support.simulated_rollouts import EQUAL, Fleet, Truth, binned, draw

EDGES = (5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 75.0, 100.0)
"""Milliseconds, as the inference service has them."""
FLEET = Fleet(devices=12, parts=7500)
NOTHING: dict[str, Any] = dict.fromkeys(("latency", "throughput", "errors", "unknowns", "defects", "confidence"))


def asking(**more: Any) -> GateSettings:
    return GateSettings.model_validate({**NOTHING, "looks": 1, **more})


def sides(truth: Truth = EQUAL, seed: int = 1) -> tuple[Observations, Observations]:
    baseline, staged = draw(FLEET, truth, np.random.default_rng(seed))
    return baseline.until(FLEET.slices, "1"), staged.until(FLEET.slices, "2")


def one(found: Evaluation) -> Any:
    (metric,) = found.metrics
    return metric


@given(
    st.lists(st.one_of(st.floats(0.1, 200), st.sampled_from(EDGES)), min_size=1, max_size=60), st.sampled_from(EDGES)
)
def test_a_histogram_counts_beyond_an_edge_what_its_values_do(values: list[float], edge: float) -> None:
    samples = Samples(np.array(values))
    bounds = np.array([0.0, *EDGES, math.inf])
    counts = np.array([sum(low < each <= high for each in values) for low, high in pairwise(bounds)])
    bins = Bins(bounds, counts.astype(float))
    assert beyond.above(bins, edge, "it") == beyond.above(samples, edge, "it")
    assert beyond.upto(bins, edge, "it") == beyond.upto(samples, edge, "it")
    assert beyond.above(samples, edge, "it")[0] == sum(each > edge for each in values)


@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        (Bins(np.array([0, 10, 15, math.inf]), np.array([5.0, 5, 5])), "no-edge", "10 and 15: take one"),
        (Bins(np.array([0, 15, 20, math.inf]), np.array([5.0, 5, 5])), "no-edge", "next are 15: take one"),
        (Bins(np.array([0, math.inf]), np.array([5.0])), "no-edge", "next are none"),
        (Bins(np.array([0, 12, math.inf]), np.array([-1.0, 5])), "values-unusable", "below zero"),
        (Samples(np.array([1.0, math.nan])), "values-unusable", "1 of 2 values are no number"),
        (Quantiles({0.95: 30.0}, 100), "no-data", "has quantiles"),
    ],
)
def test_what_a_source_cannot_count_is_said(values: Any, code: str, says: str) -> None:
    with pytest.raises(NotCompared, match=says) as caught:
        beyond.above(values, 12.0, "The share over 12 ms")
    assert caught.value.code == code


def test_the_verdict_and_its_numbers_are_those_of_the_values_themselves() -> None:
    settings, both = asking(slow={"ms": 40}), sides(Truth(latency=1.02))
    exact = one(evaluate(settings, *both, 1))
    of_buckets = one(evaluate(settings, *(binned(side, EDGES) for side in both), 1))
    assert of_buckets == exact


def test_an_equal_version_is_promoted_from_buckets_that_can_show_no_quantile() -> None:
    both = [binned(side, EDGES) for side in sides()]
    of_quantile = one(evaluate(asking(latency={}), *both, 1))
    assert (of_quantile.verdict, of_quantile.code) == ("hold", "resolution")
    assert "its steps leave" in of_quantile.sentence
    assert "gate.slow" in of_quantile.sentence
    found = evaluate(asking(slow={"ms": 40}), *both, 1)
    assert found.verdict == "promote", found.sentence
    assert one(found).name == "slow_40"
    assert one(found).sentence.startswith("The share over 40 ms: ")


def test_a_slower_version_is_stopped_and_one_just_at_the_margin_is_held() -> None:
    settings = asking(slow={"ms": 40})
    slow, even = ([binned(side, EDGES) for side in sides(Truth(latency=by))] for by in (1.2, 1.06))
    assert evaluate(settings, *slow, 1).verdict == "stop"
    assert evaluate(settings, *even, 1).verdict == "hold"


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "promote"), (-0.8, "stop"), (0.8, "stop")])
def test_a_model_that_is_less_or_more_sure_is_stopped(shift: float, verdict: str) -> None:
    settings = asking(unsure={"upto": 0.8})
    assert evaluate(settings, *sides(Truth(confidence=shift)), 1).verdict == verdict


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda _cell: None, "no-data", "the staged side has no parts of which it is known; evidence and Prometheus"),
        (lambda _cell: Bins(np.array([0, 25.0, 50.0, math.inf]), np.ones(3)), "no-edge", "next are 25 and 50"),
    ],
)
def test_what_the_staged_side_cannot_say_holds_by_name(change: Callable[[Any], Any], code: str, says: str) -> None:
    baseline, staged = sides()
    staged = replace(staged, cells=tuple(replace(cell, latency=change(cell)) for cell in staged.cells))
    metric = one(evaluate(asking(slow={"ms": 40}), baseline, staged, 1))
    assert (metric.verdict, metric.code) == ("hold", code)
    assert says in metric.sentence
    assert metric.sentence.startswith("The share over 40 ms")
