"""Decides which waiting records are sealed into a batch now, by Edge Manager's batch size and push period."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lineside.spool import Run


@dataclass(frozen=True, slots=True)
class SealOrder:
    """The first `records` of a run are to be sealed, in batches of at most the batch size."""

    run: Run
    records: int


class Sealing:
    """Remembers since when each run waits, and decides.

    Full batches are due at once; the rest when it has waited `period_s`, or at once when it can grow no more, since a
    later hour of its stream has begun.
    """

    def __init__(self, *, batch_size: int, period_s: float) -> None:
        self._batch_size = batch_size
        self._period_s = period_s
        self._since: dict[int, float] = {}
        """When a run that begins with this record was first seen."""

    def due(self, runs: Sequence[Run], now: float) -> list[SealOrder]:
        """Return what is to be sealed at `now`, a time in seconds that only goes up; in the order of `runs`."""
        self._since = {run.numbers[0]: self._since.get(run.numbers[0], now) for run in runs}
        return list(self._orders(runs, now))

    def _orders(self, runs: Sequence[Run], now: float) -> Iterator[SealOrder]:
        for run in runs:
            waiting = len(run.numbers)
            full = waiting - waiting % self._batch_size
            is_old = now - self._since[run.numbers[0]] >= self._period_s
            if run.closed or is_old:
                yield SealOrder(run, waiting)
            elif full:
                yield SealOrder(run, full)
