import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lineside.contract import TRY_STATION
from lineside_exporter.cloudwatch.aggregation import MAX_REMEMBERED, Aggregator, Block, Series, figures_of, named
from lineside_exporter.cloudwatch.histogram import MAX_BINS, Histogram, percentile
from tests.support.result_messages import result

MEASURED = st.floats(-1e6, 1e6, allow_nan=False)


def filled(values: list[float], max_bins: int = MAX_BINS) -> Histogram:
    histogram = Histogram(max_bins=max_bins)
    for value in values:
        histogram.add(value)
    return histogram


@given(st.lists(MEASURED, max_size=400), st.integers(5, MAX_BINS))
@example([1.0001**power for power in range(400)], 5)
@example([-1e6, -1e-3, 0.0, 1e-12, 1e-3, 1e6, 1.0, 2.0], 5)
def test_count_and_sum_stay_what_they_were(values: list[float], max_bins: int) -> None:
    histogram = filled(values, max_bins)
    shown = histogram.values()

    assert len(shown) <= max_bins
    assert sum(count for _value, count in shown) == histogram.count == len(values)
    assert math.fsum(value * count for value, count in shown) == pytest.approx(math.fsum(values), rel=1e-6, abs=1e-3)
    assert list(shown) == sorted(shown)
    if values:
        assert histogram.largest == max(values)


@given(st.lists(st.floats(0.001, 60_000), min_size=1, max_size=400), st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_the_ratio(values: list[float], share: float) -> None:
    histogram = filled(values)
    exact = sorted(values)[max(1, math.ceil(share * len(values))) - 1]

    assert exact / histogram.ratio * (1 - 1e-9) <= histogram.percentile(share) <= exact * histogram.ratio * (1 + 1e-9)


def test_a_shift_of_latencies_keeps_its_first_ratio() -> None:
    histogram = filled([5 + 40 * (number % 1000) / 1000 for number in range(10_000)])

    assert histogram.ratio < 1.021
    assert len(histogram.values()) > 70


def test_a_few_values_are_shown_as_they_are() -> None:
    assert filled([8.25, 3.5, 8.25, 0.0]).values() == ((0.0, 1), (3.5, 1), (8.25, 2))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_left_out(value: float) -> None:
    assert filled([value]).count == 0


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile((), 0.5)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"verdict": "pass", "scores": {"good": 0.9, "scratch": 0.1}},
            {"Unknown": 0, "Error": 0, "Defect": 0, "Latency": 8, "Confidence": 0.9},
        ),
        (
            {"verdict": "fail", "confidence": 0.8},
            {"Unknown": 0, "Error": 0, "Defect": 1, "Latency": 8, "Confidence": 0.8},
        ),
        ({"verdict": "unknown"}, {"Unknown": 1, "Error": 0, "Latency": 8}),
        ({"verdict": "unknown", "status": "expired", "latency": 400.0}, {"Unknown": 1, "Error": 1}),
        ({"verdict": "unknown", "status": "failed", "latency": 4.0}, {"Unknown": 1, "Error": 1}),
        ({"verdict": "unknown", "status": "rejected", "latency": 1.0}, {"Unknown": 1}),
        ({"verdict": "unknown", "status": "disabled", "latency": 1.0}, {"Unknown": 1}),
        ({"verdict": "pass", "latency": None}, {"Unknown": 0, "Error": 0, "Defect": 0}),
    ],
    ids=["pass", "fail", "unknown", "expired", "failed", "rejected", "disabled", "without-timing"],
)
def test_what_a_result_says(fields: dict[str, object], expected: dict[str, float]) -> None:
    assert figures_of(result(**fields)) == expected  # type: ignore[arg-type]


def blocks_of(aggregator: Aggregator) -> dict[Series, Block]:
    return {block.series: block for block in aggregator.close(0.0)}


def test_by_station_and_model() -> None:
    aggregator = Aggregator(10)
    for station, model, verdict in (
        ("a", "m", "pass"),
        ("a", "m", "fail"),
        ("b", "m", "fail"),
        (None, None, "unknown"),
    ):
        assert aggregator.add(result(verdict, station=station, model=model))

    blocks = blocks_of(aggregator)

    assert {series: block.results for series, block in blocks.items()} == {
        Series("a", "m"): 2,
        Series("b", "m"): 1,
        Series("none", "none"): 1,
    }
    assert dict(named(blocks[Series("a", "m")]))["Defect"].values() == ((0.0, 1), (1.0, 1))
    assert "Defect" not in dict(named(blocks[Series("none", "none")]))
    assert blocks_of(aggregator) == {}


def test_an_answer_told_twice_counts_once() -> None:
    aggregator, told = Aggregator(10), result("fail")
    aggregator.add(told)
    aggregator.add(told)

    assert [block.results for block in aggregator.close(0.0)] == [1]


def test_what_is_remembered_is_bounded() -> None:
    aggregator = Aggregator(1)
    first = result()
    aggregator.add(first)
    for _ in range(MAX_REMEMBERED):
        aggregator.add(result())
    aggregator.add(first)

    assert [block.results for block in aggregator.close(0.0)] == [MAX_REMEMBERED + 2]


def test_what_somebody_tries_by_hand_is_no_part_of_the_line() -> None:
    aggregator = Aggregator(1)

    assert aggregator.add(result(station=TRY_STATION))
    assert aggregator.close(0.0) == []


def test_a_series_too_many_is_not_counted_and_says_so() -> None:
    aggregator = Aggregator(2)

    assert [aggregator.add(result(station=name)) for name in "abcab"] == [True, True, False, True, True]
    assert aggregator.series == 2
    assert {block.series.station: block.results for block in aggregator.close(0.0)} == {"a": 2, "b": 2}
    assert not aggregator.add(result(station="c"))  # nor in the next period


@pytest.mark.parametrize(
    ("name", "dimension"), [("Linie 3 ü", "Linie 3 ?"), ("::a", "a"), ("  ", "none"), ("a\nb", "a?b"), (":", "none")]
)
def test_names_that_cloudwatch_does_not_take(name: str, dimension: str) -> None:
    aggregator = Aggregator(1)
    aggregator.add(result(station=name))

    assert [block.series.station for block in aggregator.close(0.0)] == [dimension]
