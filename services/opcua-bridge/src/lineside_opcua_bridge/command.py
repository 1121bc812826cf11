"""`lineside-opcua-bridge`: runs the service, or a command on a running one; imports asyncua only for the service."""

from lineside import command


def main() -> None:
    """Run until SIGTERM, or answer."""
    command.run("opcua_bridge", _serve)


def _serve() -> None:
    from lineside_opcua_bridge.__main__ import main as serve  # noqa: PLC0415 - `health` must not wait for all of it

    serve()
