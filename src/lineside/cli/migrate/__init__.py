"""`lineside migrate`: from SageMaker Edge Manager's configuration to ours."""

import json
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

app = typer.Typer(help="Move from SageMaker Edge Manager: what of its configuration holds here.", no_args_is_help=True)

_HAND = 1
_NO_FILE = 2
_File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A deployment's JSON, the configuration of its component aws.greengrass.SageMakerEdgeManager alone, or "
        "the configuration file of an agent without Greengrass.",
    ),
]


@app.command("check")
def check(file: _File, *, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say for each key whether it means the same here, means something else, or nothing, and what to do.

    Exit status 1 where something needs a hand, 2 where the file is none of Edge Manager's.
    """
    from lineside.cli.migrate import saying, source, verdicts  # noqa: PLC0415 - the help must not wait for it
    from lineside.errors import LinesideError  # noqa: PLC0415 - same

    try:
        read = source.read(file)
    except LinesideError as error:
        _end(str(error), _NO_FILE)
    judged = verdicts.judge(read)
    if as_json:
        sys.stdout.write(json.dumps(saying.document(file, read, judged), indent=2) + "\n")
    else:
        sys.stdout.write(saying.text(file, read, judged))
    if any(one.todo for one in judged):
        raise typer.Exit(_HAND)


@app.command("convert")
def convert(
    file: _File,
    *,
    spool: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for captures until they are delivered; on a local disk.")
    ] = Path("/var/lib/lineside/spool"),
) -> None:
    """Print our settings file for it.

    Exit status 1 where a value is wrong, 2 where the file is none of Edge Manager's.
    """
    from lineside.cli.migrate import converting, source  # noqa: PLC0415 - the help must not wait for it
    from lineside.errors import LinesideError, SettingsError  # noqa: PLC0415 - same

    try:
        sys.stdout.write(converting.settings_file(file, source.read(file), spool))
    except SettingsError as error:
        _end("\n".join(error.problems), _HAND)
    except LinesideError as error:
        _end(str(error), _NO_FILE)


def _end(message: str, status: int) -> NoReturn:
    from lineside.tables import visible  # noqa: PLC0415 - the help must not wait for it

    sys.stderr.write(f"{visible(message)}\n")
    raise typer.Exit(status)
