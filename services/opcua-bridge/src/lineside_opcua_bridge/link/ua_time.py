"""Converts OPC UA's DateTime, 100 ns ticks since 1601 (OPC 10000-6, 5.2.2.5), to aware datetimes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_FIRST_SET = int(timedelta(days=365).total_seconds()) * 10_000_000
"""Times before 1602 are OPC UA's zero: the time is not set."""
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_TOO_LATE = int((_LAST - _EPOCH).total_seconds()) * 10_000_000


def moment(ticks: int) -> datetime:
    """Return an instant; before 1601 and after 9999 the nearest one that a datetime can represent."""
    if ticks >= _TOO_LATE:
        return _LAST
    return _EPOCH + timedelta(microseconds=max(0, ticks) // 10)


def timestamp(ticks: int) -> datetime | None:
    """Return an instant, or None where it is not set."""
    return None if ticks < _FIRST_SET else moment(ticks)


def timestamps(ticks: Sequence[int]) -> list[datetime | None]:
    """Return the instant of each of at least one; equal ones may be one object."""
    first = min(ticks)
    different = set(ticks)
    if len(different) * 2 <= len(ticks):  # a PLC that gives all values of a scan one stamp
        known = {each: timestamp(each) for each in different}
        return [known[each] for each in ticks]
    if first < _FIRST_SET or max(ticks) >= _TOO_LATE:
        return [timestamp(each) for each in ticks]
    base, start = moment(first), first // 10
    return [base + timedelta(0, 0, each // 10 - start) for each in ticks]  # small differences: twice as fast
