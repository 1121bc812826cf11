from lineside.spool import Run
from lineside_forwarder.sealing import Sealing


def run(*numbers: int, stream: str = "spindle", closed: bool = False) -> Run:
    return Run(stream=stream, folder="line/spindle/2026/11/22/02", numbers=numbers, size=len(numbers), closed=closed)


def cuts(sealing: Sealing, now: float, *runs: Run) -> list[tuple[int, int]]:
    return [(cut.run.numbers[0], cut.records) for cut in sealing.due(runs, now)]


def test_full_batches_leave_at_once_and_the_rest_waits() -> None:
    sealing = Sealing(batch_size=10, period_s=4)
    assert cuts(sealing, 0, run(*range(1, 10))) == []
    assert cuts(sealing, 0, run(*range(1, 36))) == [(1, 30)]


def test_what_waited_long_enough_leaves_whole() -> None:
    sealing = Sealing(batch_size=10, period_s=4)
    assert cuts(sealing, 100.0, run(1)) == []
    assert cuts(sealing, 103.9, run(1, 2)) == []
    assert cuts(sealing, 104.0, run(1, 2, 3)) == [(1, 3)]


def test_the_wait_begins_anew_for_what_is_left() -> None:
    sealing = Sealing(batch_size=2, period_s=4)
    assert cuts(sealing, 0, run(1, 2, 3)) == [(1, 2)]
    assert cuts(sealing, 1, run(3)) == []
    assert cuts(sealing, 4.5, run(3)) == []
    assert cuts(sealing, 5, run(3)) == [(3, 1)]


def test_a_run_that_can_grow_no_more_does_not_wait() -> None:
    sealing = Sealing(batch_size=10, period_s=4)
    assert cuts(sealing, 0, run(1, 2, closed=True), run(3)) == [(1, 2)]


def test_streams_wait_each_for_itself() -> None:
    sealing = Sealing(batch_size=10, period_s=4)
    assert cuts(sealing, 0, run(1)) == []
    assert cuts(sealing, 3, run(1), run(2, stream="cards")) == []
    assert cuts(sealing, 4, run(1), run(2, stream="cards")) == [(1, 1)]
    assert cuts(sealing, 7, run(2, stream="cards")) == [(2, 1)]


def test_what_is_gone_is_forgotten() -> None:
    sealing = Sealing(batch_size=10, period_s=4)
    cuts(sealing, 0, *(run(number, stream=str(number)) for number in range(100)))
    cuts(sealing, 1)
    assert not sealing._since
