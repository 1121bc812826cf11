"""This machine's clock: kept by a time server, and not before this installation was made."""

import ctypes
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lineside
from lineside.checks import Check, fail, ok, skip, warn
from lineside.contract import utc_now

CLOCK = "clock"

_ERROR = 5
_UNSYNCHRONISED = 0x40
"""TIME_ERROR and STA_UNSYNC of adjtimex(2)."""

_REMEDY = "keep it by a time server: `timedatectl set-ntp true`, or chrony with the plant's own server"


class Timex(ctypes.Structure):
    """struct timex of adjtimex(2), as far as it is read here; the kernel writes no more than 512 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 464),
    )


def look() -> Check:
    """Read the kernel's word on the clock, and compare it with the time of our own files."""
    return judge(*read(), utc_now(), installed_at())


def read() -> tuple[int, Timex]:
    """Return what adjtimex(2) returns and writes, with nothing set; -1 where it may not be called."""
    answer = Timex()
    return int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(answer))), answer


def installed_at() -> datetime:
    """Return when the newest of our own files was written here."""
    files = Path(os.fspath(lineside.__file__)).parent.glob("*.py")
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)


def judge(state: int, answer: Timex, now: datetime, installed: datetime) -> Check:
    """Judge the clock: a Jetson without a battery begins in the past after each loss of power."""
    shown = now.isoformat(timespec="seconds")
    if now < installed - timedelta(days=1):
        what = f"{shown} is before this installation was made, {installed.isoformat(timespec='seconds')}"
        return fail(CLOCK, f"{what}: certificates and evidence get wrong times", _REMEDY)
    if state < 0:
        return skip(CLOCK, f"{shown}; the kernel does not say here whether it is synchronised")
    if state == _ERROR or answer.status & _UNSYNCHRONISED:
        return warn(CLOCK, f"{shown}; no time server keeps it", _REMEDY)
    return ok(CLOCK, f"{shown}, synchronised to within {answer.maxerror / 1000:.0f} ms")
