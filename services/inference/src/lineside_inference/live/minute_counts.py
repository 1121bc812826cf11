"""How many parts passed and failed, minute by minute, for as long as a shift and a night."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from lineside.contract import Result, Verdict

MINUTES = 24 * 60
"""How far back one can ask."""
_MAX_TIMES = 512
_MINUTE_S = 60
Kind = Literal["passed", "failed", "unknown", "disabled"]
KINDS: dict[Verdict, Kind] = {"pass": "passed", "fail": "failed", "unknown": "unknown"}


@dataclass
class Minute:
    """One minute's results; `at` is in whole minutes since 1970, `times` holds milliseconds of its last results."""

    at: int
    passed: int = 0
    failed: int = 0
    unknown: int = 0
    disabled: int = 0
    seen: int = 0
    p95_ms: float | None = None
    times: list[float] = field(default_factory=list)

    def add(self, kind: Kind, by: int) -> None:
        """Count parts of a kind."""
        setattr(self, kind, getattr(self, kind) + by)

    def close(self) -> None:
        """Keep of the times only their percentile."""
        self.p95_ms = percentile(self.times, 0.95)
        self.times = []


Counted = tuple[Minute, Kind]
"""Where and as what a part was counted."""


class MinuteCounts:
    """Counts by minute over the last 24 hours; older minutes are forgotten."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)

    def count(self, kind: Kind, now: datetime) -> Counted:
        """Count one part; those answered because judging is off are `disabled`, and no part of the yield."""
        minute = self._minute(int(now.timestamp()) // _MINUTE_S)
        minute.add(kind, 1)
        return minute, kind

    def move(self, counted: Counted, kind: Kind) -> Counted:
        """Count a part as something else, in the minute in which it was counted."""
        minute, before = counted
        minute.add(before, -1)
        minute.add(kind, 1)
        return minute, kind

    def time(self, result: Result, now: datetime) -> None:
        """Take how long one part was judged."""
        total = result.timing_ms.total
        if result.status != "ok" or total is None:
            return
        minute = self._minute(int(now.timestamp()) // _MINUTE_S)
        if len(minute.times) < _MAX_TIMES:
            minute.times.append(total)
        else:
            minute.times[minute.seen % _MAX_TIMES] = total
        minute.seen += 1

    def since(self, start: datetime | None) -> dict[str, int]:
        """Return the sums from the minute of `start` on, or of all that is kept."""
        first = int(start.timestamp()) // _MINUTE_S if start else 0
        sums = dict.fromkeys(("passed", "failed", "unknown", "disabled"), 0)
        for minute in self._back_to(first):
            for name in sums:
                sums[name] += getattr(minute, name)
        return sums

    def trend(self, minutes: int, now: datetime) -> list[dict[str, object]]:
        """Return the minutes of late that had results, oldest first, with their p95 in milliseconds."""
        first = int(now.timestamp()) // _MINUTE_S - minutes + 1
        return [
            {
                "at": datetime.fromtimestamp(minute.at * _MINUTE_S, UTC).isoformat(),
                "parts": minute.passed + minute.failed + minute.unknown,
                "p95_ms": minute.p95_ms if minute.p95_ms is not None else percentile(minute.times, 0.95),
            }
            for minute in reversed(list(self._back_to(first)))
        ]

    def _minute(self, at: int) -> Minute:
        last = self._minutes[-1] if self._minutes else None
        if last is not None and at <= last.at:  # also where the clock was set back: minutes stay in order
            return last
        if last is not None:
            last.close()
        self._minutes.append(Minute(at))
        return self._minutes[-1]

    def _back_to(self, first: int) -> Iterator[Minute]:
        for minute in reversed(self._minutes):
            if minute.at < first:
                return
            yield minute


def percentile(values: list[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed; None without values."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)]
