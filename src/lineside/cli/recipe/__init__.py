"""`lineside recipe`: the recipes of the Greengrass components, written and checked before AWS is asked."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The recipes of the Greengrass components: write them, check them.", no_args_is_help=True)


@app.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recipes, in YAML or JSON.")],
) -> None:
    """Say what is wrong with recipes that Greengrass' own schema lets pass: file, line, value, what is allowed.

    Recipes that are named together are also compared: a policy's id is its own among all components. Exit status 1
    where something is wrong.
    """
    from lineside.cli.recipe import checking  # noqa: PLC0415 - the help must not wait for it

    read: dict[str, checking.Checked] = {}
    unreadable = False
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            sys.stderr.write(f"{file}: cannot be read: {why}\n")
            unreadable = True
            continue
        read[str(file)] = checking.check(text, is_json=file.suffix == ".json")
    found = checking.check_together(read)
    for name, findings in found.items():
        for finding in findings:
            sys.stderr.write(f"{name}:{finding}\n")
    wrong = [name for name, findings in found.items() if findings]
    if wrong or unreadable:
        raise typer.Exit(1)
    sys.stdout.write(f"{len(read)} {'recipe' if len(read) == 1 else 'recipes'}: right\n")
