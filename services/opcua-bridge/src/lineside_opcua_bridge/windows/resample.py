"""Resamples one column at the instants of a grid, or says why some of its values are not known.

An OPC UA server notifies a value when it changes, and nothing while it does not. So while no notification was lost a
value holds until the next one, however long that takes: this is no gap. A gap is where the value is not known: after
values were lost, and while the quality is bad. `gaps` says how it is filled:

    hold     by the value before it
    linear   by a straight line from the value before it to the one after it; between two values without a gap the
             earlier one holds until one sample period before the later one, for it changed within that period
    refuse   for tags that are notified in every period, as measured ones are: a longer pause is a gap in any case

A gap longer than `max_gap_us` is never filled, and a gap that contains no instant of the grid does not matter.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lineside_opcua_bridge.windows.tag_series import AFTER_GAP, BAD, TagSeries

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Unusable:
    """Why a window cannot be judged: `code` is window-gap, window-quality or window-short."""

    reason: str
    code: str


@dataclass(frozen=True)
class GapRules:
    """How the gaps of a window are filled; times in microseconds."""

    gaps: Literal["hold", "linear", "refuse"]
    bad: Literal["gap", "refuse"]
    max_gap_us: int
    period_us: float


def resample(series: TagSeries, grid: NDArray[np.int64], rules: GapRules) -> NDArray[np.float64] | Unusable:
    """Return the values at `grid`, ascending microseconds since 1970, shape (n,); or what is wrong with the column."""
    first, last = _relevant(series, int(grid[0]), int(grid[-1]))
    if first < 0:
        return Unusable(f"there is no value at or before {_say(int(grid[0]))}", "window-short")
    times = np.array(series.times[first:last], np.int64)
    values = np.array(series.values[first:last], np.float64)
    if rules.gaps == "hold" and _is_complete(series, first, last, int(grid[-1])):  # nearly always so; 4 times as fast
        return values[np.searchsorted(times, grid, side="right") - 1]
    flags = np.frombuffer(series.flags[first:last], np.uint8)
    return _filled(times, values, flags, grid, rules, is_continuous=series.is_continuous)


def _filled(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint8],
    grid: NDArray[np.int64],
    rules: GapRules,
    *,
    is_continuous: bool,
) -> NDArray[np.float64] | Unusable:
    """Return the values at `grid` with gaps filled; `is_continuous`: the last value holds until now."""
    bad = (flags & BAD) != 0
    if bad[0]:
        return Unusable(f"there is no good value at or before {_say(int(grid[0]))}", "window-quality")
    at = np.searchsorted(times, grid, side="right") - 1
    if rules.bad == "refuse" and bad[at[0] : at[-1] + 1].any():
        where = int(times[at[0] + int(np.argmax(bad[at[0] :]))])
        return Unusable(f"a value of bad quality came at {_say(where)}", "window-quality")

    places = np.arange(len(times))
    good_before = np.maximum.accumulate(np.where(bad, -1, places))
    good_after = np.minimum.accumulate(np.where(bad, len(times), places)[::-1])[::-1]
    # Of each value: the instant of the next one, and whether values may be missing between the two.
    follows = np.append(times[1:], _FOREVER)
    missing = np.append((flags[1:] & AFTER_GAP) != 0, not is_continuous)

    before = good_before[at]
    after = np.append(good_after, len(times))[at + 1]
    ends = np.append(times, grid[-1])[after]
    begins = np.where(missing[before], times[before], follows[before])
    in_gap = bad[at] | (missing[at] & (grid > times[at]))
    if rules.gaps == "refuse":
        begins = times[before]
        in_gap |= grid > begins
    too_long = in_gap & (ends - begins > rules.max_gap_us)
    if too_long.any():
        worst = int(np.argmax(too_long))
        begin, length = int(begins[worst]), int(ends[worst]) - int(begins[worst])
        return Unusable(
            f"nothing is known from {_say(begin)} on for {length / 1e3:g} ms; "
            f"at most {rules.max_gap_us / 1e3:g} ms may be filled",
            "window-gap",
        )
    held = values[before]
    if rules.gaps != "linear":
        return held
    drawn = (after < len(times)) & (in_gap | (after == at + 1))
    start = np.where(in_gap, begins, np.maximum(times[before], ends - rules.period_us))
    share = np.clip((grid - start) / np.maximum(ends - start, 1), 0.0, 1.0)
    target = values[np.minimum(after, len(times) - 1)]
    return np.where(drawn, held + (target - held) * share, held)


def _relevant(series: TagSeries, start: int, end: int) -> tuple[int, int]:
    """Return the range of the values that matter from `start` to `end`; its first index is -1 where there are none.

    It begins with the good value in force at `start` and ends with the first good one after `end`, where there are any.
    """
    first = bisect_right(series.times, start) - 1
    while first > 0 and series.flags[first] & BAD:
        first -= 1
    last = bisect_right(series.times, end)
    while last < len(series.times) and series.flags[last] & BAD:
        last += 1
    return first, min(last + 1, len(series.times))


def _is_complete(series: TagSeries, first: int, last: int, end: int) -> bool:
    """Whether the values in this range are good, and none are missing from the first of them to `end`."""
    flags = series.flags[first:last]
    known = series.is_continuous or end <= series.times[last - 1]
    return known and not flags[0] & BAD and flags.count(0, 1) == len(flags) - 1


def _say(at: int) -> str:
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
