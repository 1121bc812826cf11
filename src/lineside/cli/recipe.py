"""`lineside recipe`: the recipes of the Greengrass components, written and checked before AWS is asked."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The recipes of the Greengrass components: write them, check them.", no_args_is_help=True)


@app.command("render")
def render(
    registry: Annotated[
        str,
        typer.Option(
            help="Where the images are, for instance 123456789012.dkr.ecr.eu-central-1.amazonaws.com/lineside."
        ),
    ],
    bucket: Annotated[str, typer.Option(help="The S3 bucket of the artifacts.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    *,
    version: Annotated[
        str | None, typer.Option(help="The components' version, and the images' tag; this installation's where absent.")
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(help="classic, lite, arm64, amd64, or for instance classic-arm64; all where absent."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VERSION", help="A model that is a component of its own, and the component's version."
        ),
    ] = None,
    digests: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines image@sha256:...; images are then named by digest.")
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Ask this machine's Docker for the digests.")] = False,
    bench: Annotated[
        bool, typer.Option("--bench", help="The simulated PLC and cameras too, for a line without a plant.")
    ] = False,
    edge_manager: Annotated[
        bool,
        typer.Option(
            "--edge-manager",
            help="aws.greengrass.SageMakerEdgeManager too, which takes the place of the public component of that name.",
        ),
    ] = False,
) -> None:
    """Write the recipes and their artifacts for a registry, a bucket and a version."""
    from lineside import __version__  # noqa: PLC0415 - the help must not wait for it
    from lineside.errors import LinesideError  # noqa: PLC0415 - same
    from lineside.recipes import writing  # noqa: PLC0415 - same
    from lineside.recipes.bench_components import BENCH  # noqa: PLC0415 - same
    from lineside.recipes.components import COMPONENTS  # noqa: PLC0415 - same
    from lineside.recipes.edge_manager_component import AGENT  # noqa: PLC0415 - same
    from lineside.recipes.rendering import Place  # noqa: PLC0415 - same

    models = {}
    for each in model or ():
        name, _equals, its_version = each.partition("=")
        if not name or not its_version:
            raise typer.BadParameter(f"{each!r}: expected NAME=VERSION, for instance surface-defect=1.0.0")
        models[name] = its_version
    try:
        place = Place(
            registry,
            bucket,
            version or __version__,
            writing.platforms_of(platform or ()),
            components=(*COMPONENTS, *(BENCH if bench else ()), *((AGENT,) if edge_manager else ())),
        )
        if digests is not None:
            place = writing.with_digests(place, digests)
        elif pin:
            place = writing.pinned(place)
        files = writing.files(place, models)
        writing.write(out, files)
    except LinesideError as error:
        sys.stderr.write(f"{error.what}; {error.remedy}\n")
        raise typer.Exit(1) from None
    for name in files:
        sys.stdout.write(f"{out / name}\n")
    sys.stdout.write(f"next: aws s3 sync {out / 'artifacts'} s3://{bucket}\n")
    for name, its_version in models.items():
        sys.stdout.write(
            f"and the zipped folder of {name} to {place.artifact(f'models/{name}/{its_version}/{name}.zip')}\n"
        )


@app.command("check")
def check(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Recipes, in YAML or JSON; of a folder all that are in it.")
    ],
) -> None:
    """Say what is wrong with recipes that Greengrass' own schema lets pass: file, line, value, what is allowed.

    Recipes that are named together are also compared: a policy's id is its own among all components. Exit status 1
    where something is wrong, 2 where a file cannot be read.
    """
    from lineside.recipes import checking  # noqa: PLC0415 - the help must not wait for it

    read: dict[str, checking.Checked] = {}
    unreadable = False
    for file in _within(files):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            sys.stderr.write(f"{file}: cannot be read: {why}; name recipes, or a folder that holds some\n")
            unreadable = True
            continue
        read[str(file)] = checking.check(text, is_json=file.suffix == ".json")
    found = checking.check_together(read)
    for name, findings in found.items():
        for finding in findings:
            sys.stderr.write(f"{name}:{finding}\n")
    wrong = [name for name, findings in found.items() if findings]
    if wrong or unreadable:
        raise typer.Exit(2 if unreadable else 1)
    sys.stdout.write(f"{len(read)} {'recipe' if len(read) == 1 else 'recipes'}: right\n")


_ENDINGS = (".yaml", ".yml", ".json")


def _within(named: Sequence[Path]) -> Iterator[Path]:
    """Yield the files that are named, and of a folder the recipes in it, in order; nothing is looked for below it."""
    for path in named:
        if not path.is_dir():
            yield path
            continue
        found = sorted(each for each in path.iterdir() if each.suffix in _ENDINGS and each.is_file())
        if not found:
            sys.stderr.write(f"{path}: no recipe is in this folder; they end with {', '.join(_ENDINGS)}\n")
            raise typer.Exit(2)
        yield from found
