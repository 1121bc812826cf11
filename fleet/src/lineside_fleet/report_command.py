"""`lineside fleet report`: how many devices are connected, and which models they run, by their heartbeats."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from lineside_fleet.heartbeat_options import (
    CaFile,
    CertFile,
    KeyFile,
    PasswordFile,
    Period,
    Periods,
    Seconds,
    Username,
)


def report(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="PLACE...",
            help="Where heartbeats are: files or folders with one a line (.jsonl), s3://bucket/prefix, or "
            "mqtt://host[:port]/topic (mqtts:// with TLS; lineside/+/heartbeat where no topic is given).",
        ),
    ],
    *,
    fleet: Annotated[str, typer.Option(help="DeviceFleetName; needed where the heartbeats name several.")] = "",
    registered: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the devices that there should be, one a line.")
    ] = None,
    periods: Periods = 3.0,
    period: Period = 300.0,
    seconds: Seconds = 5.0,
    username: Username = None,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
    as_table: Annotated[bool, typer.Option("--table", help="Print tables for people instead of JSON.")] = False,
) -> None:
    """Print a fleet's report in the form of Edge Manager's GetDeviceFleetReport, from heartbeats.

    Exit status 1 where heartbeats could not be read and were left out, each named on stderr; 2 where a place cannot be
    read, or no heartbeat is there.
    """
    from lineside.errors import LinesideError  # noqa: PLC0415 - the help must not wait for it
    from lineside_fleet.heartbeats import sources  # noqa: PLC0415 - same
    from lineside_fleet.heartbeats.broker import BrokerAccess  # noqa: PLC0415 - same
    from lineside_fleet.heartbeats.errors import HeartbeatsAway  # noqa: PLC0415 - same
    from lineside_fleet.heartbeats.report import Rules  # noqa: PLC0415 - same
    from lineside_fleet.heartbeats.report import report as made  # noqa: PLC0415 - same

    access = BrokerAccess(username, password_file, ca_file, cert_file, key_file, seconds)
    try:
        counted = sources.count(places, access)
        names = _names(registered)
        known = counted.fleets
        if not known and not counted.left_out:
            raise HeartbeatsAway(f"no heartbeat in {', '.join(places)}")
        if not fleet and len(known) > 1:
            raise HeartbeatsAway(f"heartbeats of several fleets: {', '.join(known)}", remedy="choose one by --fleet")
        chosen = fleet or (known[0] if known else "")
        if fleet and known and fleet not in known:
            raise HeartbeatsAway(f"no heartbeat of fleet {fleet!r}; there are some of {', '.join(known)}")
    except LinesideError as error:
        sys.stderr.write(f"{_visible(str(error))}\n")
        raise typer.Exit(2) from None
    result = made(chosen, counted.of_fleet(chosen), time.time(), Rules(periods, period), names)
    sys.stdout.write(_tables(result.document) if as_table else f"{json.dumps(result.document, indent=2)}\n")
    for line in (*result.remarks, *counted.remarks()):
        sys.stderr.write(f"{_visible(line)}\n")
    if counted.left_out:
        raise typer.Exit(1)


def _names(file: Path | None) -> list[str]:
    from lineside_fleet.heartbeats.errors import HeartbeatsAway  # noqa: PLC0415 - as above

    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HeartbeatsAway(f"{file} cannot be read: {error}", remedy="give a text file, one name a line") from None
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _visible(text: str) -> str:
    from lineside.tables import visible  # noqa: PLC0415 - as above

    return visible(text)


def _tables(document: dict[str, object]) -> str:
    from lineside.tables import table  # noqa: PLC0415 - as above

    stats = document["DeviceStats"]
    assert isinstance(stats, dict)  # noqa: S101 - we made it
    versions, models = document["AgentVersions"], document["ModelStats"]
    assert isinstance(versions, list)  # noqa: S101 - same
    assert isinstance(models, list)  # noqa: S101 - same
    states = ("Offline", "Connected", "Active", "Sampling")
    head = (
        f"{document['DeviceFleetName']}: {stats['ConnectedDeviceCount']} of {stats['RegisteredDeviceCount']} devices "
        f"connected, {document['ReportGenerated']}\n\n"
    )
    return (
        head
        + table(
            ["version", "devices"], [[each["Version"], str(each["AgentCount"])] for each in versions], right=["devices"]
        )
        + "\n"
        + table(
            ["model", "version", *(state.lower() for state in states)],
            [
                [each["ModelName"], each["ModelVersion"], *(str(each[f"{state}DeviceCount"]) for state in states)]
                for each in models
            ],
            right=[state.lower() for state in states],
        )
    )
