"""The search for a line's capacity, and what is said to limit it."""

from hypothesis import given
from hypothesis import strategies as st

from lineside_bench.processes.usage import Usage
from lineside_bench.reporting.load import LineLoad, limited_by
from lineside_bench.runner.capacity import CLOSE, bisection

STAGES = {"queue": {"p95": 210.0}, "infer": {"p95": 12.0}, "publish": {"p95": None}}


def search(capacity: float, start: float, *, highest: float = 200.0) -> tuple[float | None, list[float]]:
    """Look for the capacity of a line that can do just so much."""
    rates = bisection(start, highest=highest)
    tried = [next(rates)]
    while True:
        try:
            tried.append(rates.send(tried[-1] <= capacity))
        except StopIteration as end:
            return end.value, tried


@given(st.floats(1, 190), st.floats(1, 200))
def test_the_capacity_is_found_from_below_and_closely(capacity: float, start: float) -> None:
    found, tried = search(capacity, start)
    assert found is not None
    assert capacity * (1 - 2 * CLOSE) <= found <= capacity
    assert len(tried) <= 20


def test_no_rate_is_tried_above_the_highest_which_may_be_the_answer() -> None:
    found, tried = search(1000, 30)
    assert found == 200
    assert max(tried) == 200


def test_a_line_that_judges_nothing_has_no_capacity() -> None:
    assert search(0, 10)[0] is None


def load(*, busy_s: float, **cpu_s: float) -> LineLoad:
    return LineLoad(10.0, 2, busy_s, 100, {name: Usage(taken) for name, taken in cpu_s.items()})


def test_used_up_processors_limit_it_and_others_are_told_apart() -> None:
    own = limited_by(load(busy_s=19.5, inference=12.0, triton=7.0), STAGES, behind_s=0.0)
    assert own == "the processors: 98% of 2 were busy; cores used: inference 1.20, triton 0.70"
    beside = limited_by(load(busy_s=20.0, inference=2.0), STAGES, behind_s=0.0)
    assert "90% of them by processes that are not the line's" in beside


def test_a_process_that_uses_a_whole_core_limits_it_while_others_are_free() -> None:
    assert limited_by(load(busy_s=12.0, inference=9.5), STAGES, behind_s=0.0) == "inference, which used a whole core"


def test_else_the_stations_or_the_slowest_stage_do() -> None:
    calm = load(busy_s=3.0, inference=2.0)
    assert limited_by(calm, STAGES, behind_s=2.5).startswith("the stations: ")
    assert limited_by(calm, STAGES, behind_s=0.0) == "the stage queue: 95 of 100 parts took up to 210 ms there"
    assert limited_by(calm, {}, behind_s=0.0) == "nothing was measured"


def test_the_load_is_told_a_part_with_what_others_took() -> None:
    told = load(busy_s=5.0, inference=2.0).document()
    assert (told["busy"], told["others"]) == (0.25, 0.15)
    assert told["services"]["inference"]["cpu_ms_a_part"] == 20.0


def test_of_a_process_that_was_started_again_what_it_took_since_counts() -> None:
    assert Usage(1.5, 7).since(Usage(9.0, 3)) == Usage(1.5, 7)
    assert Usage(9.5, 7).since(Usage(9.0, 3)) == Usage(0.5, 7)
