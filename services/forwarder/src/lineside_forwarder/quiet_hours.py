"""Hours of the day in which nothing is sent over the network, in the plant's local time."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_DAY = 24 * 60
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


def zone(name: str) -> tzinfo:
    """Return a time zone by its IANA name; raises ValueError. UTC needs no database of time zones."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(f"no time zone {name!r} is known here; expected an IANA name, e.g. Europe/Berlin") from None


def minutes(windows: Sequence[str]) -> frozenset[int]:
    """Return the minutes of the day in windows like `22:00-06:00`, which may go over midnight; raises ValueError."""
    found: set[int] = set()
    for window in windows:
        match = _WINDOW.fullmatch(window)
        if match is None:
            raise ValueError(f"expected HH:MM-HH:MM, e.g. 22:00-06:00 (got {window!r})")
        start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
        if start == end:
            raise ValueError(f"a window ends at another minute than it begins (got {window!r})")
        found |= {minute % _DAY for minute in range(start, end if end > start else end + _DAY)}
    if len(found) == _DAY:
        raise ValueError("the windows fill the whole day: nothing would ever be sent")
    return frozenset(found)


class QuietHours:
    """Says until when nothing is sent. Local time decides: with daylight saving two nights are longer or shorter."""

    def __init__(self, windows: Sequence[str], time_zone: str) -> None:
        self._minutes = minutes(windows)
        self._zone = zone(time_zone)

    def until(self, now: datetime) -> datetime | None:
        """Return the local time at which the quiet that `now` lies in ends; None: it is not quiet."""
        if not self._is_quiet(now):
            return None
        instant = now.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(2 * _DAY):
            instant += timedelta(minutes=1)
            if not self._is_quiet(instant):
                break
        return instant.astimezone(self._zone)

    def _is_quiet(self, instant: datetime) -> bool:
        local = instant.astimezone(self._zone)
        return local.hour * 60 + local.minute in self._minutes
