"""`lineside config sample | check | schema`: the settings of every installed service."""

import json
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from lineside.checks import document_of
from lineside.cli.sample import sample, schema
from lineside.errors import SettingsError
from lineside.naming import lacking
from lineside.settings import FILE_VARIABLE, SECTIONS, Settings, load, variable

app = typer.Typer(help="The settings of every installed service.", no_args_is_help=True)


def installed() -> list[type[Settings]]:
    """Return the settings of every installed service, in the order of their sections."""
    kinds: list[type[Settings]] = [entry.load() for entry in entry_points(group="lineside.settings")]
    return sorted(kinds, key=lambda kind: SECTIONS.index(kind.section))


@app.command("sample")
def show_sample() -> None:
    """Print a settings file with every setting, its meaning, its default and its environment variable."""
    sys.stdout.write(sample(installed()))


@app.command("schema")
def show_schema() -> None:
    """Print the JSON schema of the settings file, for editors."""
    sys.stdout.write(json.dumps(schema(installed()), indent=2) + "\n")


@app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help=f"The settings file; else what {FILE_VARIABLE} names; else only the environment."),
    ] = None,
) -> None:
    """Read the settings as every service does; exit 1 and name every problem where they are wrong.

    The file may also be the configuration file of an Edge Manager agent.
    """
    if found := problems(file):
        for problem in found:
            sys.stderr.write(f"{problem}\n")
        raise typer.Exit(1)
    for remark in dict.fromkeys(remark for kind in installed() for remark in load(kind, file=file).remarks()):
        sys.stdout.write(f"note: {remark}\n")
    source = file or os.environ.get(FILE_VARIABLE) or "defaults and environment"
    sys.stdout.write(f"{source}: right for {', '.join(kind.section for kind in installed())}\n")


def problems(file: Path | None) -> list[str]:
    """Return all that is wrong for any installed service, and what the triggers name and the file lacks."""
    found: list[str] = []
    loaded: dict[str, Any] = {}
    for kind in installed():
        try:
            loaded[kind.section] = getattr(load(kind, file=file), kind.section).model_dump(mode="json")
        except SettingsError as error:
            found += [problem for problem in error.problems if problem not in found]
    return found or list(lacking(*(loaded.get(name) if _given(name, file) else None for name in _COMPARED)))


_COMPARED = ("opcua_bridge", "inference")


def _given(section: str, file: Path | None) -> bool:
    """Whether a section is in this box's settings at all; another machine's may have it."""
    return section in document_of(file) or any(name.upper().startswith(variable((section,))) for name in os.environ)
