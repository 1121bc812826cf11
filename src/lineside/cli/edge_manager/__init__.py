"""`lineside edge-manager`: a client for people of Edge Manager's agent, over its unix socket, by its own calls."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

_WHERE = "Where"
_WRONG = 2

app = typer.Typer(
    help="Edge Manager's agent on this box, by its own calls: models, predictions, captures. Exit status 0: done, "
    "1: the agent refused, 2: it cannot be reached or something given is wrong, 3: it did not answer in time.",
    no_args_is_help=True,
)

Config = Annotated[
    Path | None,
    typer.Option(help="The settings file; else what LINESIDE_CONFIG names.", rich_help_panel=_WHERE),
]
Socket = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        help="The agent's socket, instead of edge_manager.UnixSocketName; the settings are not read then, unless "
        "--config names them.",
        rich_help_panel=_WHERE,
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        min=0.1, max=3600, metavar="SECONDS", help="How long the agent may take for one call.", rich_help_panel=_WHERE
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]
Model = Annotated[str, typer.Argument(metavar="NAME", help="The model's name: its handle.")]
_USUAL_S = 60.0
_TENSOR = "NAME=FILE.npy, or NAME=FILE:DTYPE:SHAPE for raw little-endian values, as image=frame.raw:uint8:1,3,224,224"


@app.command("list")
def list_(*, as_json: Json = False, socket: Socket = None, timeout: Timeout = _USUAL_S, config: Config = None) -> None:
    """List the models that the agent serves, with what they take and give."""
    _work().list_models(config, socket, timeout, as_json=as_json)


@app.command()
def load(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the model shall be called.")],
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="Its folder or file as the agent sees it, below one of edge_manager.model_roots; a relative one "
            "counts from the first of them.",
        ),
    ],
    *,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Load a model from a folder of this box, and show what it takes and gives."""
    _work().load(config, socket, timeout, name, path, as_json=as_json)


@app.command()
def unload(
    name: Model,
    *,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Unload a model that a client loaded."""
    _work().unload(config, socket, timeout, name, as_json=as_json)


@app.command()
def describe(
    name: Model,
    *,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Show a model's inputs and outputs, with datatypes and shapes."""
    _work().describe(config, socket, timeout, name, as_json=as_json)


@app.command()
def predict(
    name: Model,
    *,
    inputs: Annotated[list[str] | None, typer.Option("--input", metavar="TENSOR", help=_TENSOR)] = None,
    shm: Annotated[
        bool, typer.Option("--shm", help="Lend the inputs as System V shared memory instead of sending them.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write the outputs to, each as NAME.npy.")
    ] = None,
    repeat: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Ask so often, one after the other, and say how long it took.")
    ] = 1,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Run a model on tensors from files, and show its outputs."""
    _work().predict(config, socket, timeout, name, inputs or [], shm=shm, output=output, repeat=repeat, as_json=as_json)


@app.command()
def capture(
    name: Model,
    *,
    capture_id: Annotated[
        str | None, typer.Option("--id", help="The capture's id, 1 to 128 letters, digits, _ and -; else a new UUID.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="TENSOR", help=f"{_TENSOR}; any other NAME=FILE goes as auxiliary data."),
    ] = None,
    outputs: Annotated[
        list[str] | None, typer.Option("--output", metavar="TENSOR", help="The same for what the model gave.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait, at most --timeout, until it is delivered or given up.")
    ] = False,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Have the agent keep inputs and outputs as a capture, and show what became of it."""
    _work().capture(config, socket, timeout, name, capture_id, inputs or [], outputs or [], wait=wait, as_json=as_json)


@app.command()
def status(
    capture_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="A capture's id.")] = None,
    *,
    as_json: Json = False,
    socket: Socket = None,
    timeout: Timeout = _USUAL_S,
    config: Config = None,
) -> None:
    """Show what became of a capture, without an id whether the agent serves; exit status 1 where it failed."""
    _work().status(config, socket, timeout, capture_id, as_json=as_json)


def _work() -> ModuleType:
    """Return what the commands do, which needs gRPC and numpy: an installation without them has the help."""
    try:
        from lineside.cli.edge_manager import commands  # noqa: PLC0415 - the help must not wait for gRPC
    except ImportError as error:
        sys.stderr.write(f"the libraries of lineside edge-manager cannot be imported: {error}. ")
        sys.stderr.write("Install lineside with its extras `cli` and `edge-manager`: lineside[cli,edge-manager]\n")
        raise typer.Exit(_WRONG) from None
    return commands
