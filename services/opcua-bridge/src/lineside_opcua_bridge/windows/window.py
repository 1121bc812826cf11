"""The last samples of several tags at a fixed rate, as one tensor for a tabular model."""

from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from lineside.contract import Tensor
from lineside_opcua_bridge.samples import Sample
from lineside_opcua_bridge.settings.sources import WindowSourceSettings
from lineside_opcua_bridge.windows.resample import GapRules, Unusable, resample
from lineside_opcua_bridge.windows.tag_series import TagSeries, instant_of, microseconds

MAX_DUE = 16
"""The most windows that `due` returns at once: the newest; the others count as skipped."""

_DIGITS = {"FP32": 7, "FP64": 15}
"""Significant digits that are sent, for every digit is a byte on the bus; FP32 is met within 5e-7 of the value."""
_MAX_EXACT_POWER = 22
"""The greatest power of ten that a double holds exactly."""
_POWERS = np.array([float(f"1e{power}") for power in range(_MAX_EXACT_POWER + 1)])
_MAX_WHOLE = 1e15
"""Whole numbers below it are sent without a fraction, which saves two bytes."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEVER = -(2**63)
_LATE_PERIODS = 3
"""Sample periods for which a column's next value is waited for, while others have gone on."""
_MAX_DISORDER_US = 1_000_000
"""By how many microseconds values of a tag may be out of order; more means that the PLC's clock was set."""


class Window:
    """The columns of one window; `stride` in samples for a trigger of kind window, None for all others.

    Times are the PLC's: the source timestamp, or the server timestamp where a value has none.
    """

    def __init__(self, settings: WindowSourceSettings, *, stride: int | None) -> None:
        self._settings = settings
        self._tags = settings.columns()
        period = 1e6 / settings.rate_hz
        self._rules = GapRules(settings.gaps, settings.bad, round(settings.longest_gap_ms() * 1000), period)
        self._offsets = np.round(np.arange(1 - settings.samples, 1) * period).astype(np.int64)
        self._late_us = round(_LATE_PERIODS * period)
        self._stride_us = None if stride is None else stride * period
        # A tag may be notified up to eight times faster than it is resampled; 256 more for short windows.
        keep = 8 * settings.samples + 256
        self._series = {name: TagSeries(keep=keep, late_us=max(_MAX_DISORDER_US, self._late_us)) for name in self._tags}
        self._scale = np.array([tag.scale for tag in self._tags.values()])
        self._offset = np.array([tag.offset for tag in self._tags.values()])
        units = tuple(tag.unit for tag in self._tags.values())
        self._units = units if any(units) else None
        self._first_end: int | None = None
        self._taken = 0
        self._moment: datetime | None = None
        self._at: int | None = None
        """The instant of the last value, and the same in microseconds."""
        self._furthest = _NEVER
        """No value is later than this: `due` and `covers` can return early by it."""
        self._last_series: TagSeries | None = None
        """The column of the last value."""
        self._clock_set: float | None = None
        """When we saw that the PLC's clock was set, by our monotonic clock."""
        self.skipped = 0
        """Windows that were due and never returned, because too many were due at once."""

    def add(self, column: str, sample: Sample) -> None:
        """Take the next value of a column."""
        moment = instant_of(sample)
        if moment is not self._moment:  # all values of a scan may have one stamp, and converting it is slow
            self._moment, self._at = moment, None if moment is None else microseconds(moment)
            if self._at is not None and self._at > self._furthest:
                self._furthest = self._at
        self._last_series = series = self._series[column]
        if series.add(sample, self._at):
            self._first_end, self._clock_set = None, sample.ticks
            self._furthest = (self._at or 0) + _MAX_DISORDER_US
        if self._first_end is None and self._stride_us is not None:
            self._begin(series)

    def mark_gap(self, column: str | None) -> None:
        """Say that values of a column, or of all, may be missing before the next one."""
        for series in self._series.values() if column is None else (self._series[column],):
            series.mark_gap()

    def covers(self, end: datetime, *, ticks: float | None = None) -> bool:
        """Whether all values up to `end` have come, as far as can be told: an unchanged tag is not notified.

        Call it once all values of a notification have been added; `ticks` as for `take`.
        """
        wanted, now = microseconds(end), self._clock(ticks)
        if wanted > self._furthest and (now is None or wanted > now - self._late_us):
            return False
        horizon = self._horizon(now)
        return horizon is not None and wanted <= horizon

    def take(self, end: datetime | None, *, ticks: float | None = None) -> Tensor | Unusable:
        """Return the window whose last sample is at `end` by the PLC's clock, or why there is none.

        Without `end` it ends with the newest value, or at `ticks` if that is later: our monotonic clock in seconds at
        the last Publish response, until which unchanged tags are known not to have changed.
        """
        last = microseconds(end) if end is not None else self._now(ticks)
        if last is None:
            return Unusable("no value has come yet", "window-short")
        grid = last + self._offsets
        ahead = self._before_clock_change()
        table = np.empty((len(grid), len(self._series)))
        for place, (name, series) in enumerate(self._series.items()):
            found = resample(series, grid, self._rules) if series not in ahead else self._constant(series, len(grid))
            if isinstance(found, Unusable):
                return Unusable(f"{name}: {found.reason}", found.code)
            table[:, place] = found
        with np.errstate(over="ignore", invalid="ignore"):
            table = table * self._scale + self._offset
            fits = np.isfinite(table.astype(np.float32) if self._settings.datatype == "FP32" else table).all(axis=0)
        if not fits.all():
            name = list(self._tags)[int(np.argmin(fits))]
            return Unusable(f"{name}: a value does not fit {self._settings.datatype}", "window-quality")
        # Every value is known to be finite: validating thousands of them again would take most of the time.
        return Tensor.model_construct(
            name=self._settings.input,
            datatype=self._settings.datatype,
            shape=table.shape,
            columns=tuple(self._tags),
            units=self._units,
            values=shortened(table, _DIGITS[self._settings.datatype]),
        )

    def due(self, ticks: float | None = None) -> list[datetime]:
        """Return the ends of the windows that are complete and were not returned yet, the earliest first.

        Call it once all values of a notification have been added. While no tag changes nothing shows the time; with
        `ticks`, our monotonic clock at the last Publish response, windows become due all the same. The first window
        begins with the first value after the initial ones of a subscription, and anew when the PLC's clock is set.
        """
        if self._stride_us is None or self._first_end is None:
            return []
        now = self._clock(ticks)
        next_end = self._first_end + int(self._taken * self._stride_us)
        if self._furthest < next_end and (now is None or now - self._late_us < next_end):
            return []
        horizon = self._horizon(now)
        if horizon is None:
            return []
        complete = int((horizon - self._first_end) // self._stride_us) + 1
        if complete <= self._taken:
            return []
        first = max(self._taken, complete - MAX_DUE)
        self.skipped += first - self._taken
        self._taken = complete
        return [
            _EPOCH + timedelta(microseconds=self._first_end + round(number * self._stride_us))
            for number in range(first, complete)
        ]

    def _horizon(self, now: int | None) -> int | None:
        """Return the instant up to which all values have come; None while a column has none at all."""
        ahead = self._before_clock_change()
        newest = [series.newest for series in self._series.values() if series not in ahead]
        known = [at for at in newest if at is not None]
        if len(known) < len(newest) or not known:
            return None
        horizon = max(min(known), max(known) - self._late_us)
        return horizon if now is None else max(horizon, now - self._late_us)

    def _now(self, ticks: float | None) -> int | None:
        """Return the newest instant of which anything is known."""
        newest, now = self._newest(), self._clock(ticks)
        return newest if newest is None or now is None else max(newest, now - self._late_us)

    def _newest(self) -> int | None:
        ahead = self._before_clock_change()
        newest = (series.newest for series in self._series.values() if series not in ahead)
        return max((at for at in newest if at is not None), default=None)

    def _clock(self, ticks: float | None) -> int | None:
        """Return the PLC's clock at `ticks`, at least; None while that is not known."""
        if ticks is None or self._last_series is None:
            return None
        delay = self._last_series.min_delay_s
        if delay is None:
            moving = [series for series in self._series.values() if series.min_delay_s is not None]
            # An unchanged tag may still have the delay from before the clock was set.
            delay = max(moving, key=lambda series: series.last_ticks).min_delay_s if moving else None
        return None if delay is None else round((ticks - delay) * 1e6)

    def _begin(self, series: TagSeries) -> None:
        """Let the first window begin with the newest value, once all columns have a value and this one is fresh."""
        all_series = self._series.values()
        if series.newest is not None and series.min_delay_s is not None and all(other.times for other in all_series):
            self._first_end = series.newest - int(self._offsets[0])
            self._taken = 0

    def _before_clock_change(self) -> list[TagSeries]:
        """Return the columns without a value since the PLC's clock was set back: their instants are in the future."""
        if self._clock_set is None:
            return []
        known = [(series, series.newest) for series in self._series.values() if series.newest is not None]
        now = max(newest for series, newest in known if series.last_ticks >= self._clock_set)
        return [
            series
            for series, newest in known
            if series.last_ticks < self._clock_set and newest > now + _MAX_DISORDER_US
        ]

    @staticmethod
    def _constant(series: TagSeries, samples: int) -> NDArray[np.float64] | Unusable:
        """Return the value in force for all samples of the window."""
        if series.value_in_force is None:
            return Unusable("its value is not known since the PLC's clock was set back", "window-gap")
        return np.full(samples, series.value_in_force)


def shortened(values: NDArray[np.float64], digits: int) -> list[int | float]:
    """Return finite numbers, flat, each rounded to its first `digits` digits, 1 to 15."""
    flat = values.ravel()
    with np.errstate(divide="ignore"):
        leading = np.floor(np.log10(np.abs(flat)))
    shift = np.where(np.isfinite(leading), digits - 1 - leading, 0).astype(np.int64)
    # A whole number divided by an exact power of ten is the double nearest to the decimal number, and prints as it.
    up, down = _POWERS[np.clip(shift, 0, _MAX_EXACT_POWER)], _POWERS[np.clip(-shift, 0, _MAX_EXACT_POWER)]
    rounded = np.where(shift >= 0, np.round(flat * up) / up, np.round(flat / down) * down)
    for place in np.flatnonzero(np.abs(shift) > _MAX_EXACT_POWER):
        rounded[place] = float(f"{flat[place]:.{digits}g}")
    short: list[int | float] = rounded.tolist()
    for is_continuous in np.flatnonzero((rounded == np.floor(rounded)) & (np.abs(rounded) < _MAX_WHOLE)).tolist():
        short[is_continuous] = int(short[is_continuous])
    return short
