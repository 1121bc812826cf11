"""`lineside evidence`: what to make of the records that the forwarder has delivered."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Records that were delivered: turn them into what other tools read.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Records that were delivered: turn them into what other tools read."""


@app.command("to-model-monitor")
def to_model_monitor(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Files of records (.jsonl), or folders with them at any depth."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; what is there already is replaced.")],
    *,
    variant: Annotated[str, typer.Option(help="Folder below a model's, as of an endpoint's variant.")] = "AllTraffic",
) -> None:
    """Write records as SageMaker Model Monitor reads them: `captureData` with a row of numbers for input and output.

    A record without a row, as of an image alone, is left out and named. Exit status 1 where some were left out, 2 where
    a file cannot be read or written.
    """
    from lineside.cli.evidence import converting  # noqa: PLC0415 - the help must not wait for it
    from lineside.errors import LinesideError  # noqa: PLC0415 - same
    from lineside.tables import visible  # noqa: PLC0415 - same

    try:
        done = converting.convert(records, out, variant)
    except LinesideError as error:
        sys.stderr.write(f"{visible(str(error))}\n")
        raise typer.Exit(2) from None
    for problem in done.left_out:
        sys.stderr.write(f"{visible(problem)}\n")
    count = "1 record" if done.written == 1 else f"{done.written} records"
    sys.stdout.write(f"{count} written to {out}, {len(done.left_out)} left out\n")
    if done.left_out:
        raise typer.Exit(1)
