"""`lineside spool`: what waits on this box, what went wrong with it, and what a person can do about it.

Every command works while the services run. None of them repairs anything: the first service that opens the spool does.
"""

from pathlib import Path
from typing import Annotated

import typer

_WHERE = "Where"

app = typer.Typer(help="The evidence that waits on this box: see it, check it, get it out.", no_args_is_help=True)

Config = Annotated[
    Path | None,
    typer.Option(help="The settings file; else what LINESIDE_CONFIG names.", rich_help_panel=_WHERE),
]
Folder = Annotated[
    Path | None, typer.Option(help="The spool's folder, instead of spool.folder.", rich_help_panel=_WHERE)
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]


@app.command()
def status(*, as_json: Json = False, config: Config = None, folder: Folder = None) -> None:
    """Show what waits, where it goes, and what was dropped; exit status 1 where something needs a person."""
    from lineside.cli.spool import commands  # noqa: PLC0415 - the help must not wait for the spool

    commands.status(config, folder, as_json=as_json)


@app.command("list")
def list_(
    destination: Annotated[str | None, typer.Argument(help="Only what this destination refused.")] = None,
    *,
    waiting: Annotated[bool, typer.Option("--waiting", help="The records that wait instead, oldest first.")] = False,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="With --waiting: how many.")] = 20,
    as_json: Json = False,
    config: Config = None,
    folder: Folder = None,
) -> None:
    """List dead letters: the batches that a destination refused for good, each with the reason."""
    from lineside.cli.spool import commands  # noqa: PLC0415 - same

    if waiting and destination:
        raise typer.BadParameter("what waits, waits for all destinations: leave out the name", param_hint="--waiting")
    if waiting:
        commands.list_waiting(config, folder, most=most, as_json=as_json)
    else:
        commands.list_dead(config, folder, destination, as_json=as_json)


@app.command()
def retry(
    destination: Annotated[str | None, typer.Argument(help="Whose dead letters.")] = None,
    batch: Annotated[int | None, typer.Argument(help="Which one, by its number; all of them where absent.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="The dead letters of every destination.")] = False,
    config: Config = None,
    folder: Folder = None,
) -> None:
    """Put dead letters back in line, once the cause of the refusals is removed."""
    from lineside.cli.spool import commands  # noqa: PLC0415 - same

    if everything == (destination is not None):
        raise typer.BadParameter("name one, or give --all; `lineside spool list` shows them", param_hint="DESTINATION")
    commands.retry(config, folder, destination, batch)


@app.command()
def export(
    to: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write to, for instance on a USB stick.")],
    *,
    as_json: Json = False,
    config: Config = None,
    folder: Folder = None,
) -> None:
    """Write all records that wait into a folder, laid out as the forwarder's disk destination does.

    For a box without a network. Nothing leaves the spool. Called again with the same folder it goes on after the last
    record written there. Exit status 1 where something damaged had to be left out.
    """
    from lineside.cli.spool import commands  # noqa: PLC0415 - same

    commands.export(config, folder, to, as_json=as_json)


@app.command()
def verify(*, as_json: Json = False, config: Config = None, folder: Folder = None) -> None:
    """Read every record and every blob; exit status 1 where something is damaged or missing."""
    from lineside.cli.spool import commands  # noqa: PLC0415 - same

    commands.verify(config, folder, as_json=as_json)


@app.command()
def forget(
    destination: Annotated[str, typer.Argument(help="A destination that is no longer in the settings.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    config: Config = None,
    folder: Folder = None,
) -> None:
    """Wait no longer for a destination: what only it had not taken yet is deleted.

    Take it out of the settings and restart the forwarder first: it makes it known again otherwise.
    """
    from lineside.cli.spool import commands  # noqa: PLC0415 - same

    commands.forget(config, folder, destination, yes=yes)
