"""One column's values at the instants of a grid, or why some of them cannot be had.

An OPC UA server sends a value when it changes, and nothing while it does not. So while the line is whole the earlier
value holds for as long as it likes: that is no gap but the truth. A gap is where the truth is not known: after values
were lost, and while the quality is bad. What fills it is the policy's choice:

    hold     the value before it
    linear   a straight line from the value before it to the one after it; between two values of a whole line the
             earlier one holds until one sample period before the later one, for it changed within that period
    refuse   for tags that send in every period, as measured ones do: a silence counts as a gap too, whole line or not

A gap longer than `max_gap_us` is never filled, and a gap in which no instant of the grid lies does not matter.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lineside_opcua_bridge.windows.tag_series import BAD, BROKEN, TagSeries

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Unusable:
    """Why a window cannot be judged: `code` is window-gap, window-quality or window-short."""

    reason: str
    code: str


@dataclass(frozen=True)
class Rules:
    """The policy of a window; times in microseconds."""

    gaps: Literal["hold", "linear", "refuse"]
    bad: Literal["gap", "refuse"]
    max_gap_us: int
    period_us: float


def resample(line: TagSeries, grid: NDArray[np.int64], rules: Rules) -> NDArray[np.float64] | Unusable:
    """Return the values at `grid`, ascending microseconds since 1970, shape (n,); or what is wrong with the column."""
    first, last = _stretch(line, int(grid[0]), int(grid[-1]))
    if first < 0:
        return Unusable(f"there is no value at or before {_say(int(grid[0]))}", "window-short")
    times = np.array(line.times[first:last], np.int64)
    values = np.array(line.values[first:last], np.float64)
    if rules.gaps == "hold" and _is_sound(line, first, last, int(grid[-1])):  # nearly always so: 4 times as fast
        return values[np.searchsorted(times, grid, side="right") - 1]
    flags = np.frombuffer(line.flags[first:last], np.uint8)
    return _filled(times, values, flags, grid, rules, whole=line.whole)


def _filled(
    times: NDArray[np.int64],
    values: NDArray[np.float64],
    flags: NDArray[np.uint8],
    grid: NDArray[np.int64],
    rules: Rules,
    *,
    whole: bool,
) -> NDArray[np.float64] | Unusable:
    """Return the values at `grid`, gaps filled by the policy; `whole`: the last value holds for as long as it likes."""
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
    # What follows each value: the next one's instant, and whether values may be missing before that.
    follows = np.append(times[1:], _FOREVER)
    missing = np.append((flags[1:] & BROKEN) != 0, not whole)

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


def _stretch(line: TagSeries, start: int, end: int) -> tuple[int, int]:
    """Return the places, first and one past the last, of the values that matter from `start` to `end`; first -1: none.

    It begins with the good value in force at `start` and ends with the first good one after `end`, where there are any.
    """
    first = bisect_right(line.times, start) - 1
    while first > 0 and line.flags[first] & BAD:
        first -= 1
    last = bisect_right(line.times, end)
    while last < len(line.times) and line.flags[last] & BAD:
        last += 1
    return first, min(last + 1, len(line.times))


def _is_sound(line: TagSeries, first: int, last: int, end: int) -> bool:
    """Whether the values at these places are good, and none are missing from the first of them to `end`."""
    flags = line.flags[first:last]
    known = line.whole or end <= line.times[last - 1]
    return known and not flags[0] & BAD and flags.count(0, 1) == len(flags) - 1


def _say(at: int) -> str:
    return (_EPOCH + timedelta(microseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
