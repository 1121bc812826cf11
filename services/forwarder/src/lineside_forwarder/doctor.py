"""What the doctor asks about evidence: where it goes, whether its spool has room, what each destination says.

It reads the spool as it is, also while the services run, and repairs nothing.
"""

import http.client
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from lineside.checks import Check, Mark, bounded, fail, ok, skip, warn
from lineside.contract import utc_now
from lineside.errors import LinesideError
from lineside.settings import load
from lineside.spool import DestinationStatus, Spool, SpoolSettings, Status, findings
from lineside.spool.store.schema import RECORDS
from lineside.threads import run_abandonable
from lineside_forwarder.destinations import Plan, plan
from lineside_forwarder.settings import S3Settings, Settings

READ_S = 5.0
_HTTP_S = 4.0
_EVIDENCE, _FOLDER, _WAITING, _CLOCK = "evidence", "spool folder", "evidence waiting", "S3 clock"
_SKEW_S = 15 * 60
"""S3 refuses requests whose time differs by more. Source: its error RequestTimeTooSkewed."""
_UNEASY_S = 60


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the checks of evidence, one where none is kept; `before` is not looked at."""
    del before
    settings = load(Settings, file=file)
    if settings.spool.folder is None:
        yield skip(_EVIDENCE, "spool.folder is not set: no evidence is kept")
        return
    plans = _plans(settings)
    yield plans if isinstance(plans, Check) else _goes_to(plans)
    folder = _folder(settings.spool.folder)
    yield folder
    found: list[Status] = []
    if folder.mark is Mark.OK:
        yield await bounded(_WAITING, partial(_read, settings.spool, found), within_s=READ_S)
    else:
        yield skip(_WAITING, f"needs: {_FOLDER}")
    if isinstance(plans, Check):
        return
    for status in found:
        for check in (*_wanted(status, settings.spool), *_destinations(status.destinations, plans)):
            yield check
    for each in plans:
        if isinstance(each.settings, S3Settings):
            remedy = "is the network there, and are region and endpoint_url right?"
            yield await bounded(_CLOCK, partial(_clock, each.settings), within_s=_HTTP_S, remedy=remedy)
            return


def _plans(settings: Settings) -> list[Plan] | Check:
    try:
        return plan(settings)
    except LinesideError as error:
        return fail(_EVIDENCE, error.what, error.remedy)


def _goes_to(plans: list[Plan]) -> Check:
    return ok(_EVIDENCE, "goes to " + ", ".join(f"{each.settings.name} ({each.settings.kind})" for each in plans))


def _folder(folder: Path) -> Check:
    """Look whether the folder is a spool that we may write."""
    remedy = "start the services, which make it, or give every service the same spool.folder"
    if not folder.is_dir():
        return warn(_FOLDER, f"{folder} is not there yet", remedy)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return fail(_FOLDER, f"{folder} may not be written", "call this as the services' user, or allow it to write")
    if not (folder / RECORDS).is_file():
        return warn(_FOLDER, f"{folder} holds no spool yet", remedy)
    return ok(_FOLDER, str(folder))


async def _read(settings: SpoolSettings, found: list[Status]) -> Check:
    """Open the spool and say what waits."""
    status = await run_abandonable(partial(_status, settings))
    found.append(status)
    return waiting(status, settings, utc_now())


def _status(settings: SpoolSettings) -> Status:
    with Spool.open(settings, recover=False) as spool:
        return spool.status()


def waiting(status: Status, settings: SpoolSettings, now: datetime) -> Check:
    """Judge how much waits, against the bound, the disk and the clock."""
    records, size = status.records - status.kept_records, status.bytes - status.kept_bytes
    gone = ", ".join(f"{reason} {count}" for reason, count in status.dropped.items() if count)
    what = f"{records} records, {findings.mebibytes(size)} of {findings.mebibytes(status.max_bytes)}"
    what += f"; dropped so far: {gone}" if gone else ""
    if status.oldest_ms is not None and (ahead := status.oldest_ms / 1000 - now.timestamp()) > _UNEASY_S:
        return warn(_WAITING, f"{what}; the oldest is {ahead / 60:.0f} minutes in the future", "set the box's clock")
    room = status.free_bytes - settings.reserve_bytes
    if room < status.max_bytes - status.bytes:
        return warn(
            _WAITING,
            f"{what}; the disk has room for {findings.mebibytes(max(0, room))} more, spool.max_bytes allows "
            f"{findings.mebibytes(status.max_bytes - status.bytes)}",
            "lower spool.max_bytes, or free space: the disk's end comes before the bound",
        )
    return ok(_WAITING, what)


def _wanted(status: Status, settings: SpoolSettings) -> Iterator[Check]:
    """Yield what needs a person, which fails."""
    files = settings.folder / "quarantine" if settings.folder else None
    count = sum(1 for _ in files.iterdir()) if files and files.is_dir() else 0
    for need in findings.needs(status, settings, quarantined_files=count):
        yield fail(f"spool {need.about}", need.what, need.remedy)


def _destinations(known: list[DestinationStatus], plans: list[Plan]) -> Iterator[Check]:
    """Yield what the forwarder said last of each destination, and those that no forwarder serves any more."""
    by_name = {each.name: each for each in known}
    for each in plans:
        yield destination(each.settings.name, by_name.pop(each.settings.name, None))
    for name, left in by_name.items():
        yield warn(
            f"destination {name}",
            f"is no longer in the settings, and {left.waiting_records} records are held for it",
            f"`lineside spool forget {name}`, or put it back into the settings",
        )


def destination(name: str, found: DestinationStatus | None) -> Check:
    """Judge what the forwarder said last of a destination."""
    about = f"destination {name}"
    if found is None:
        return warn(about, "is not known to the spool yet", "start the forwarder with these settings")
    since = datetime.fromtimestamp(found.since_ms / 1000, UTC).isoformat(timespec="seconds")
    has = f"{found.delivered_records} records delivered, {found.waiting_records} wait"
    if found.state == "BACKOFF":
        return warn(about, f"away since {since}: {found.detail}; {has}", "nothing is lost; it is tried again")
    said = f"{found.state or 'no word yet'}{': ' + found.detail if found.detail else ''}"
    return ok(about, f"{said}; {has}")


async def _clock(settings: S3Settings) -> Check:
    """Compare our clock with the store's."""
    url = settings.endpoint_url or f"https://s3.{settings.region or 'us-east-1'}.amazonaws.com"
    date = await run_abandonable(partial(_date, url))
    return clock(date, utc_now(), url)


def clock(theirs: datetime | None, ours: datetime, where: str) -> Check:
    """Judge the difference of two clocks; `theirs` is None where the store gives no time."""
    if theirs is None:
        return skip(_CLOCK, f"{where} gives no time")
    difference = (ours - theirs).total_seconds()
    shown = f"ours is {abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} that of {where}"
    if abs(difference) >= _SKEW_S:
        return fail(_CLOCK, f"{shown}; it refuses what differs by {_SKEW_S // 60} minutes", "set the box's clock")
    return warn(_CLOCK, shown, "set the box's clock") if abs(difference) >= _UNEASY_S else ok(_CLOCK, shown)


def _date(url: str) -> datetime | None:
    """Return the time in the answer to a request without any credentials."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_HTTP_S)
    try:
        connection.request("HEAD", "/")
        said = connection.getresponse().getheader("Date")
    finally:
        connection.close()
    return parsedate_to_datetime(said) if said else None
