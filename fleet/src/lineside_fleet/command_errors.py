"""How the commands end where something is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def told() -> Iterator[None]:
    """End with an error's sentence and exit status instead of a traceback."""
    from lineside.errors import LinesideError  # noqa: PLC0415 - same
    from lineside.tables import visible  # noqa: PLC0415 - the help must not wait for it

    try:
        yield
    except LinesideError as error:
        typer.echo(visible(f"lineside fleet: {error}"), err=True)
        raise typer.Exit(getattr(error, "status", 2)) from None
