"""The `lineside` command. Commands of installed distributions come by the entry-point group `lineside.commands`.

An entry is a function, which becomes a command, or a typer application, which becomes a group of commands. Loading it
must be quick: what a command needs, it imports when it runs.
"""

import sys
from importlib.metadata import entry_points
from typing import Annotated


def main() -> None:
    """Run the command line; exit status 2 where the arguments or the configuration are wrong."""
    try:
        import typer  # noqa: PLC0415 - the servers' installation does without the command line's libraries
    except ModuleNotFoundError:
        sys.exit("the lineside command needs its command-line libraries: install lineside[cli]")
    from lineside.cli import config, edge_manager, evidence, migrate, model, recipe, spool  # noqa: PLC0415 - same
    from lineside.cli.doctor import doctor  # noqa: PLC0415 - same

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
    app.add_typer(config.app, name="config")
    app.command("doctor")(doctor)
    app.add_typer(edge_manager.app, name="edge-manager")
    app.add_typer(evidence.app, name="evidence")
    app.add_typer(migrate.app, name="migrate")
    app.add_typer(model.app, name="model")
    app.add_typer(recipe.app, name="recipe")
    app.add_typer(spool.app, name="spool")
    for entry in sorted(entry_points(group="lineside.commands"), key=lambda entry: entry.name):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    app()


def _say_version(asked: bool) -> None:
    """Print what is installed, and end."""
    if asked:
        from lineside import __version__  # noqa: PLC0415 - only when asked

        sys.stdout.write(f"lineside {__version__}\n")
        sys.exit(0)
