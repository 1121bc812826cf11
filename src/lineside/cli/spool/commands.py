"""The work of `lineside spool`: open the spool as it is, ask or change one thing, print it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn

import typer

from lineside.cli.spool import formatting
from lineside.cli.spool.location import SpoolLocation, locate
from lineside.errors import LinesideError, SettingsError
from lineside.settings import nearest
from lineside.spool import Spool
from lineside.spool.export import export as write_out
from lineside.spool.findings import needs
from lineside.spool.repair.verify import verify as read_all

FAILED = 1
WRONG = 2


def status(config: Path | None, folder: Path | None, *, as_json: bool) -> None:
    """Print what waits; exit status 1 where something needs a person."""
    with _opened(config, folder) as (where, spool):
        state = spool.status()
    wanted = needs(state, where.spool, quarantined_files=where.quarantined_files)
    _say((formatting.status_json if as_json else formatting.status_text)(where, state, wanted))
    if wanted:
        raise typer.Exit(FAILED)


def list_dead(config: Path | None, folder: Path | None, destination: str | None, *, as_json: bool) -> None:
    """Print the dead letters of one destination or of all."""
    with _opened(config, folder) as (_where, spool):
        if destination is not None:
            _known(spool, destination)
        letters = spool.dead_letters(destination)
    _say((formatting.letters_json if as_json else formatting.letters_text)(letters))


def list_waiting(config: Path | None, folder: Path | None, *, most: int, as_json: bool) -> None:
    """Print the oldest records that wait."""
    with _opened(config, folder) as (_where, spool):
        records = list(islice(spool.iterate(), most))
        state = spool.status()
    total = state.records - state.kept_records
    _say(formatting.records_json(records) if as_json else formatting.records_text(records, total))


def retry(config: Path | None, folder: Path | None, destination: str | None, batch: int | None) -> None:
    """Put dead letters back in line: one, those of a destination, or all."""
    with _opened(config, folder) as (_where, spool):
        names = [each.name for each in spool.status().destinations]
        if destination is not None:
            _known(spool, destination)
            names = [destination]
        count = sum(spool.retry(name, batch) for name in names)
    if batch is not None and not count:
        _fail(f"{destination} has no dead letter {batch}; `lineside spool list` shows them", FAILED)
    _say(f"{count} batch{'' if count == 1 else 'es'} back in line\n")


def export(config: Path | None, folder: Path | None, to: Path, *, as_json: bool) -> None:
    """Write what waits into a folder; exit status 1 where something damaged had to be left out."""
    with _opened(config, folder) as (where, spool):
        if to.resolve().is_relative_to(where.folder.resolve()):
            _fail(f"{to} is inside the spool itself: name a folder outside of {where.folder}")
        done = write_out(spool, to, device=where.thing, prefix=where.prefix)
    _say(formatting.export_json(done) if as_json else formatting.export_text(done, to))
    if done.damaged:
        raise typer.Exit(FAILED)


def verify(config: Path | None, folder: Path | None, *, as_json: bool) -> None:
    """Read everything; exit status 1 where something is damaged or missing."""
    with _opened(config, folder) as (_where, spool):
        report = read_all(spool.folder)
    _say((formatting.verify_json if as_json else formatting.verify_text)(report))
    if not report.is_well:
        raise typer.Exit(FAILED)


def forget(config: Path | None, folder: Path | None, destination: str, *, yes: bool) -> None:
    """Ask, unless told not to, and wait no longer for a destination."""
    with _opened(config, folder) as (_where, spool):
        _known(spool, destination)
        known = spool.status().destinations
        held = next(each for each in known if each.name == destination)
        _say(formatting.held_text(held, is_last=len(known) == 1))
        if not yes:
            typer.confirm(f"Forget {destination}?", abort=True)
        spool.forget(destination)
    _say(f"{destination} is forgotten\n")


@contextmanager
def _opened(config: Path | None, folder: Path | None) -> Iterator[tuple[SpoolLocation, Spool]]:
    """Open the spool as it is; exit status 2 where the settings or the folder are wrong, 1 where a command fails."""
    try:
        where = locate(config, folder)
        spool = Spool.open(where.spool, recover=False)
    except SettingsError as error:
        _fail("\n".join(error.problems))
    except LinesideError as error:
        _fail(str(error))
    try:
        with spool:
            yield where, spool
    except LinesideError as error:
        _fail(str(error), FAILED)
    except OSError as error:
        _fail(f"{error.filename or where.folder}: {error.strerror}", FAILED)


def _known(spool: Spool, destination: str) -> None:
    names = [each.name for each in spool.status().destinations]
    if destination not in names:
        _fail(f"{destination!r} is not a destination of this spool{nearest(destination, names)}")


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _fail(text: str, code: int = WRONG) -> NoReturn:
    sys.stderr.write(f"{text}\n")
    raise typer.Exit(code)
