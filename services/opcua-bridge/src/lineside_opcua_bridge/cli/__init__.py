"""`lineside opcua`: browse, read and watch nodes of the PLC's server, for whoever commissions the bridge.

asyncua takes a second to import, so it is imported when a command runs, not when the help is shown.
"""

from pathlib import Path
from typing import Annotated

import typer

from lineside_opcua_bridge.cli import trust

_WHERE = "Where"

app = typer.Typer(help="Look into the PLC's OPC UA server: find nodes, read them, watch them.", no_args_is_help=True)
app.add_typer(trust.app, name="trust")

Nodes = Annotated[
    list[str],
    typer.Argument(metavar="NODE...", help="Node ids, nsu=<URI>;s=<text>, or browse paths, /Objects/..., with globs."),
]
Config = Annotated[
    Path | None,
    typer.Option(help="The settings file; else what LINESIDE_CONFIG names.", rich_help_panel=_WHERE),
]
Endpoint = Annotated[
    str | None,
    typer.Option(help="opc.tcp://<host>:<port> instead of the one in the settings.", rich_help_panel=_WHERE),
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Connect without security and without a user.", rich_help_panel=_WHERE),
]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.command()
def browse(
    start: Annotated[
        str, typer.Argument(metavar="[PATH-OR-ID]", help="Where to begin: a browse path, with globs, or a node id.")
    ] = "/Objects",
    depth: Annotated[
        int | None,
        typer.Option(min=0, max=32, help="Levels below; 0 shows the node itself.", show_default="1, with globs 0"),
    ] = None,
    values: Annotated[bool, typer.Option("--values", help="Show the present values too.")] = False,
    json: Json = False,
    config: Config = None,
    endpoint: Endpoint = None,
    insecure: Insecure = False,
) -> None:
    """List nodes with the node ids that go into the settings.

    In a path `*`, `?` and `[abc]` match within a name and `**` any depth: '/Objects/**/PartPresent'.
    """
    from lineside_opcua_bridge.cli import browse_nodes, run_command  # noqa: PLC0415 - the help must not wait for asyncua

    server = run_command.plc_server(config, endpoint, insecure=insecure)
    run_command.run(
        server, [start], lambda session: browse_nodes.browse(session, start, depth=depth, values=values, as_json=json)
    )


@app.command()
def read(
    nodes: Nodes,
    json: Json = False,
    config: Config = None,
    endpoint: Endpoint = None,
    insecure: Insecure = False,
) -> None:
    """Read values with type, status, timestamps and what we may do with them."""
    from lineside_opcua_bridge.cli import read_nodes, run_command  # noqa: PLC0415 - the help must not wait for asyncua

    server = run_command.plc_server(config, endpoint, insecure=insecure)
    run_command.run(server, nodes, lambda session: read_nodes.read(session, nodes, as_json=json))


@app.command()
def watch(
    nodes: Nodes,
    seconds: Annotated[float | None, typer.Option("--for", min=0.1, help="End after so many seconds.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many values.")] = None,
    json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    config: Config = None,
    endpoint: Endpoint = None,
    insecure: Insecure = False,
) -> None:
    """Print the present values and each change, until Ctrl-C."""
    from lineside_opcua_bridge.cli import run_command, watch_nodes  # noqa: PLC0415 - the help must not wait for asyncua

    server = run_command.plc_server(config, endpoint, insecure=insecure)
    run_command.run(
        server,
        nodes,
        lambda session: watch_nodes.watch(session, nodes, server.settings, seconds=seconds, count=count, as_json=json),
    )
