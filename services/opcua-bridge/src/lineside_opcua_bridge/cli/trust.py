"""`lineside opcua trust`: which certificates of PLCs the bridge trusts, which it refused, and its own."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Certificates: which the bridge trusts, which it refused, and its own.",
    no_args_is_help=True,
)

Config = Annotated[Path | None, typer.Option(help="The settings file; else what LINESIDE_CONFIG names.")]
Json = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Thumbprint = Annotated[
    str, typer.Argument(metavar="THUMBPRINT", help="As `trust list` shows it; its beginning will do.")
]


@app.command("list")
def show_all(json: Json = False, config: Config = None) -> None:
    """List the certificates that are trusted, complete chains, or were refused."""
    from lineside_opcua_bridge.cli import manage_trust  # noqa: PLC0415 - the help must not wait for asyncua

    manage_trust.run(config, lambda pki: manage_trust.show_all(pki, as_json=json))


@app.command()
def show(thumbprint: Thumbprint, json: Json = False, config: Config = None) -> None:
    """Show all of a certificate, and why it is refused where it is."""
    from lineside_opcua_bridge.cli import manage_trust  # noqa: PLC0415 - the help must not wait for asyncua

    manage_trust.run(config, lambda pki: manage_trust.show(pki, thumbprint, as_json=json))


@app.command()
def add(
    what: Annotated[
        str, typer.Argument(metavar="THUMBPRINT-OR-FILE", help="One that was refused, or a file with a certificate.")
    ],
    issuer: Annotated[
        bool, typer.Option("--issuer", help="Only to complete the chain of others: it is not trusted by itself.")
    ] = False,
    config: Config = None,
) -> None:
    """Trust a certificate, of a PLC or of an authority; the running bridge takes it at its next attempt."""
    from lineside_opcua_bridge.cli import manage_trust  # noqa: PLC0415 - the help must not wait for asyncua

    manage_trust.run(config, lambda pki: manage_trust.add(pki, what, group="issuers" if issuer else "trusted"))


@app.command()
def remove(thumbprint: Thumbprint, config: Config = None) -> None:
    """Trust a certificate no more; it is kept among the rejected ones."""
    from lineside_opcua_bridge.cli import manage_trust  # noqa: PLC0415 - the help must not wait for asyncua

    manage_trust.run(config, lambda pki: manage_trust.remove(pki, thumbprint))


@app.command()
def own(
    export: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there: .pem as PEM, anything else as DER.")
    ] = None,
    json: Json = False,
    config: Config = None,
) -> None:
    """Show or export the bridge's own certificate, which the PLC must be made to trust; makes the first one."""
    from lineside_opcua_bridge.cli import manage_trust  # noqa: PLC0415 - the help must not wait for asyncua

    manage_trust.run(config, lambda pki: manage_trust.own(pki, export=export, as_json=json))
