"""An address for a camera that has one in another network."""

import ipaddress
from typing import Annotated

import typer

from lineside_inference.camera_command.common import WRONG, end, show, tried


def force_ip(
    mac: Annotated[str, typer.Argument(help="The camera's MAC, as its label and `lineside camera list` have it.")],
    address: Annotated[str, typer.Argument(metavar="ADDRESS/PREFIX", help="What it takes, such as 192.0.2.20/24.")],
    gateway: Annotated[str | None, typer.Option(help="Its router, where it needs one.")] = None,
    interface: Annotated[str | None, typer.Option(help="Only on this network card; else on every one.")] = None,
) -> None:
    """Give a camera an address in this machine's network, until its power goes.

    To keep it, set the camera's own address afterwards (GevPersistentIPAddress) or let DHCP give it one. Exit status 1
    where the camera refuses or does not answer there, 2 where the address is none for it.
    """
    from lineside_inference.sources.cameras.genicam import addressing, gvcp  # noqa: PLC0415 - the help is quick without

    own = addressing.cards(with_loopback=interface is not None)
    if interface is not None:
        own = [card for card in own if card.name == interface]
        if not own:
            raise end(f"--interface: {interface!r} is not up, or has no address", status=WRONG)
    try:
        meant = gvcp.mac_of(mac)
        wanted = ipaddress.IPv4Interface(address)
        router = None if gateway is None else ipaddress.IPv4Address(gateway)
    except ValueError as error:
        raise end(str(error), status=WRONG) from None
    if problem := addressing.wrong(wanted, router, own):
        raise end(problem, status=WRONG)
    camera = tried(lambda: addressing.force(meant, wanted, router, own))
    show(f"{camera.vendor} {camera.model}, serial {camera.serial}, is at {camera.address} until its power goes")
