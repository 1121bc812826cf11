from datetime import UTC, datetime

import pytest

from lineside_forwarder.quiet_hours import QuietHours, minutes, zone


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def end(quiet: QuietHours, now: str) -> str:
    until = quiet.until(utc(now))
    assert until is not None
    return until.isoformat()


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-06-01T21:59:59", None),
        ("2026-06-01T22:00:00", "2026-06-02T06:00"),
        ("2026-06-02T00:00:30", "2026-06-02T06:00"),
        ("2026-06-02T05:59:59", "2026-06-02T06:00"),
        ("2026-06-02T06:00:00", None),
    ],
)
def test_a_window_over_midnight(now: str, until: str | None) -> None:
    found = QuietHours(["22:00-06:00"], "UTC").until(utc(now))
    assert found == (utc(until) if until else None)


def test_windows_that_touch_are_one() -> None:
    quiet = QuietHours(["08:00-12:00", "12:00-13:30"], "UTC")
    assert quiet.until(utc("2026-06-01T08:00:00")) == utc("2026-06-01T13:30")


def test_local_time_decides() -> None:
    quiet = QuietHours(["08:00-16:00"], "Europe/Berlin")
    assert quiet.until(utc("2026-06-01T05:59:00")) is None
    assert quiet.until(utc("2026-06-01T06:00:00")) == utc("2026-06-01T14:00")
    assert quiet.until(utc("2026-01-05T06:00:00")) is None
    assert quiet.until(utc("2026-01-05T07:00:00")) == utc("2026-01-05T15:00")


def test_the_night_that_is_an_hour_shorter() -> None:
    # Berlin goes from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC: 02:30 does not come, 03:00 is past it.
    quiet = QuietHours(["01:00-02:30"], "Europe/Berlin")
    assert quiet.until(utc("2026-03-29T00:30:00")) == utc("2026-03-29T01:00")
    assert quiet.until(utc("2026-03-29T01:00:00")) is None


def test_the_night_that_is_an_hour_longer() -> None:
    # Berlin goes from 03:00 back to 02:00 on 2026-10-25 at 01:00 UTC: 02:00 to 02:30 comes twice.
    quiet = QuietHours(["01:00-02:30"], "Europe/Berlin")
    assert end(quiet, "2026-10-25T00:10:00") == "2026-10-25T02:30:00+02:00"
    assert quiet.until(utc("2026-10-25T00:30:00")) is None
    assert end(quiet, "2026-10-25T01:10:00") == "2026-10-25T02:30:00+01:00"


@pytest.mark.parametrize("window", ["22-06", "24:00-01:00", "22:00-22:00", "", "22:00 - 06:00", "09:60-10:00"])
def test_what_is_no_window_is_refused(window: str) -> None:
    with pytest.raises(ValueError, match=r"window|HH:MM"):
        minutes([window])


def test_a_day_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="whole day"):
        minutes(["00:00-12:00", "12:00-00:00"])


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="IANA"):
        zone(name)
