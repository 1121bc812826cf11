"""The highest rate at which a line judges every part in time, by bisection, and what keeps it from more."""

import asyncio
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from lineside_bench.options import MAX_RATE
from lineside_bench.reporting.load import LineLoad, limited_by
from lineside_bench.reporting.records import PartRecord
from lineside_bench.reporting.report import percentile
from lineside_bench.runner.simulated_line import SimulatedLine

PICTURES = 96
"""Different parts of a search: drawn before it, they cost nothing in it."""
TRIAL_S = 6.0
"""How long parts come at one rate."""
REST_S = 2.5
"""Between two rates: what the one before left behind is over by then."""
CLOSE = 0.05
"""How near to each other the highest good and the lowest bad rate are at the end, as a share."""
BEHIND_S = 1.0
"""How late a part may be brought at most, for want of a free station: beyond that its rate was not reached."""


@dataclass(frozen=True)
class Trial:
    """What became of the parts that came at one rate for a time."""

    rate: float
    parts: int
    judged: int
    unknown: int
    late: int
    missing: int
    duplicates: int
    judged_a_second: float
    p50_ms: float | None
    p99_ms: float | None
    behind_s: float
    load: LineLoad
    limited_by: str

    @property
    def is_good(self) -> bool:
        """Whether each part was judged in time, once, and came when it was due."""
        return not (self.late or self.missing or self.unknown or self.duplicates) and self.behind_s <= BEHIND_S

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        names = ("rate", "parts", "judged", "unknown", "late", "missing", "duplicates", "judged_a_second")
        figures = {name: getattr(self, name) for name in (*names, "p50_ms", "p99_ms", "behind_s", "limited_by")}
        rounded = {name: round(value, 2) if isinstance(value, float) else value for name, value in figures.items()}
        return {**rounded, "load": self.load.document()}


def counted(
    rate: float, records: Sequence[PartRecord], load: LineLoad, stages_ms: dict[str, Any], behind_s: float
) -> Trial:
    """Return what became of the parts of a trial."""
    latencies = [record.latency_ms for record in records if record.latency_ms is not None]
    verdicts = Counter(record.verdict for record in records)
    judged = verdicts["pass"] + verdicts["fail"]
    return Trial(
        rate=rate,
        parts=len(records),
        judged=judged,
        unknown=verdicts["unknown"],
        late=sum(record.latency_ms is not None and record.latency_ms > record.deadline_ms for record in records),
        missing=verdicts[None],
        duplicates=sum(len(record.write_backs) > 1 for record in records),
        judged_a_second=judged / load.seconds if load.seconds > 0 else 0.0,
        p50_ms=percentile(latencies, 0.50),
        p99_ms=percentile(latencies, 0.99),
        behind_s=behind_s,
        load=load,
        limited_by=limited_by(load, stages_ms, behind_s=behind_s),
    )


def bisection(start: float, *, highest: float = MAX_RATE) -> Generator[float, bool, float | None]:
    """Yield rates to try, and take whether each is good; return the highest good one, None where none is.

    First by doubling or halving from `start`, then by halving between the highest good and the lowest bad one.
    """
    good: float | None = None
    bad: float | None = None
    rate = min(start, highest)
    while True:
        if (yield rate):
            good = rate
        else:
            bad = rate
        if good is not None and (good >= highest or (bad is not None and bad - good <= CLOSE * good)):
            return good
        if good is None and rate < 1:
            return None
        if good is None:
            rate /= 2
        else:
            rate = min(2 * good, highest) if bad is None else (good + bad) / 2


async def trial(line: SimulatedLine, rate: float, seconds: float = TRIAL_S) -> Trial:
    """Bring parts at a rate for a time, and return what became of them once all have left."""
    await asyncio.sleep(REST_S)
    await line.feed(max(1, round(rate * seconds)), rate)
    records = list(line.records)
    return counted(rate, records, line.load, line.stages_ms(), line.tally.behind_s)


async def find(
    line: SimulatedLine, start: float, told: Callable[[Trial], object], seconds: float = TRIAL_S
) -> tuple[float | None, list[Trial]]:
    """Return the capacity of a line, None where no rate is good, and the trials; `told` hears of each.

    A rate that is bad is tried once more: on a machine with other work one slow moment is no limit.
    """
    rates, trials = bisection(start), list[Trial]()
    rate = next(rates)
    while True:
        for _ in range(2):
            trials.append(await trial(line, rate, seconds))
            told(trials[-1])
            if trials[-1].is_good:
                break
        try:
            rate = rates.send(trials[-1].is_good)
        except StopIteration as end:
            return end.value, trials
