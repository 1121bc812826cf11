"""`lineside fleet drift`: what core devices run otherwise than their deployments say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lineside_fleet.command_errors import told
from lineside_fleet.gate_command import STATUS
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

if TYPE_CHECKING:
    from lineside_fleet.heartbeats.broker import BrokerAccess
    from lineside_fleet.heartbeats.counting import Counted


def drift(
    *,
    group: Annotated[str | None, typer.Option(help="Only the devices of this thing group; all by default.")] = None,
    heartbeats: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE",
            help="Heartbeats, as `report` takes them: a file or folder, s3://bucket/prefix, mqtt://host[:port]/topic. "
            "They say which models a device has, and since when it is silent.",
        ),
    ] = None,
    reports: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="The devices' shadows, for the settings in force: a file or folder, s3://bucket/prefix.",
        ),
    ] = None,
    stale_hours: Annotated[
        float, typer.Option(min=0.1, help="A device's report to Greengrass that is older says nothing.")
    ] = 26.0,
    metrics: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write metrics for Prometheus there (a .prom textfile).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    periods: Periods = 3.0,
    period: Period = 300.0,
    seconds: Seconds = 5.0,
    username: Username = None,
    password_file: PasswordFile = None,
    ca_file: CaFile = None,
    cert_file: CertFile = None,
    key_file: KeyFile = None,
) -> None:
    """Compare what core devices run with what their deployments say; exit status 1 where something differs.

    Greengrass hears of a device's components at each deployment and else once a day; a heartbeat comes every few
    minutes. Heartbeats that cannot be read are named on stderr, with exit status 1 too.
    """
    with told():
        import time  # noqa: PLC0415 - the help must not wait for boto3

        from lineside.durable_files import replace_file  # noqa: PLC0415 - same
        from lineside.tables import visible  # noqa: PLC0415 - same
        from lineside_fleet.aws.clients import Aws  # noqa: PLC0415 - same
        from lineside_fleet.drift import reading, showing  # noqa: PLC0415 - same
        from lineside_fleet.drift import reports as reported  # noqa: PLC0415 - same
        from lineside_fleet.drift.heard import heard  # noqa: PLC0415 - same
        from lineside_fleet.errors import Refused  # noqa: PLC0415 - same
        from lineside_fleet.heartbeats.broker import BrokerAccess  # noqa: PLC0415 - same
        from lineside_fleet.heartbeats.report import Rules  # noqa: PLC0415 - same

        said = reported.read(reports) if reports is not None else {}
        access = BrokerAccess(username, password_file, ca_file, cert_file, key_file, seconds)
        counted = _counted(heartbeats, access) if heartbeats else None
        now = time.time()
        lately = heard(counted.latest, now, Rules(periods, period)) if counted is not None else None
        found = reading.read(Aws(), group, said, lately, now=now, stale_s=stale_hours * 3600)
        if metrics is not None:
            try:
                replace_file(metrics, showing.as_metrics(found).encode(), mode=0o644)
            except OSError as error:
                raise Refused(f"{metrics} cannot be written: {error.strerror}", remedy="Name another file") from None
        typer.echo((showing.as_json if as_json else showing.as_text)(found), nl=False)
        for line in counted.remarks() if counted is not None else ():
            typer.echo(visible(line), err=True)
        if found.differences or (counted is not None and counted.left_out):
            raise typer.Exit(STATUS["stop"])


def _counted(places: list[str], access: "BrokerAccess") -> "Counted":
    """Return the heartbeats of all places; raises HeartbeatsAway, also where there is none at all."""
    from lineside_fleet.heartbeats import sources  # noqa: PLC0415 - as above
    from lineside_fleet.heartbeats.errors import HeartbeatsAway  # noqa: PLC0415 - same

    counted = sources.count(places, access)
    if not counted.devices and not counted.left_out:
        raise HeartbeatsAway(f"no heartbeat in {', '.join(places)}")
    return counted
