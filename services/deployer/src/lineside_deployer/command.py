"""`lineside-deployer`: runs the service, or answers `health` and `--version` without importing it."""

from lineside import command


def main() -> None:
    """Run until SIGTERM, or answer."""
    command.run("deployer", _serve)


def _serve() -> None:
    from lineside_deployer.__main__ import main as serve  # noqa: PLC0415 - `health` must not wait for all of it

    serve()
