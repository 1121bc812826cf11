import pytest

from lineside_bench.simulators.runs import MAX_REMEMBERED, PartRun, PartRuns, RunRequest, RunUnderWay


def run(parts: int = 10) -> PartRun:
    return PartRun(RunRequest(parts=parts), seed=7)


def test_one_run_is_under_way_at_a_time() -> None:
    runs, first = PartRuns(), run()
    runs.begin(first)
    assert runs.current is first
    with pytest.raises(RunUnderWay, match=f"run {first.id} is under way, 0 of 10 parts fed"):
        runs.begin(run())
    runs.end(first)
    assert runs.current is None
    assert runs.get(first.id) is first
    runs.begin(run())


def test_old_runs_are_forgotten() -> None:
    runs = PartRuns()
    made = [run() for _ in range(MAX_REMEMBERED + 1)]
    for each in made:
        runs.begin(each)
        runs.end(each)
    assert runs.get(made[0].id) is None
    assert all(runs.get(each.id) is each for each in made[1:])
