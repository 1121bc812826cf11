"""`lineside-inference`: the service, or a word to a running one; light until the service shall run."""

from lineside import command


def main() -> None:
    """Run until SIGTERM, or answer."""
    command.run("inference", _serve)


def _serve() -> None:
    from lineside_inference.__main__ import main as serve  # noqa: PLC0415 - `health` must not wait for all of it

    serve()
