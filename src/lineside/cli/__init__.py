"""The `lineside` command. Commands of installed distributions come by the entry-point group `lineside.commands`.

An entry is a function, which becomes a command, or a typer application, which becomes a group of commands. Loading it
must be quick: what a command needs, it imports when it runs. Of a command that is named no other is loaded.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any

OWN = ("config", "doctor", "edge-manager", "evidence", "migrate", "model", "recipe", "spool")
"""Each stands in the module of its name, as `doctor` or as `app`."""


def main() -> None:
    """Run the command line; exit status 2 where the arguments or the configuration are wrong."""
    try:
        import typer  # noqa: PLC0415 - the servers' installation does without the command line's libraries
    except ModuleNotFoundError:
        sys.exit("the lineside command needs its command-line libraries: install lineside[cli]")

    def options(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Show the version and exit.")
        ] = False,
    ) -> None:
        """Edge inference for production lines: a PLC's signal becomes a model's verdict, in time."""

    app = typer.Typer(
        name="lineside",
        help="Edge inference for production lines: a PLC's signal becomes a model's verdict, in time.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(options)
    for name, load in _commands(sys.argv[1:]).items():
        command = load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    app()


def _commands(arguments: Sequence[str]) -> dict[str, Callable[[], Any]]:
    """Return how to load the command that the arguments begin with; else all, in help's order."""
    known: dict[str, Callable[[], Any]] = {name: partial(_own, name) for name in OWN}
    known |= {each.name: each.load for each in sorted(entry_points(group="lineside.commands"), key=lambda e: e.name)}
    return {name: load for name, load in known.items() if name in arguments[:1]} or known


def _own(name: str) -> Any:
    module = import_module(f"lineside.cli.{name.replace('-', '_')}")
    return module.doctor if name == "doctor" else module.app


def _say_version(asked: bool) -> None:
    """Print what is installed, and end."""
    if asked:
        from lineside import __version__  # noqa: PLC0415 - only when asked

        sys.stdout.write(f"lineside {__version__}\n")
        sys.exit(0)
