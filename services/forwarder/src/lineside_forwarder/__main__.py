"""The forwarder as a process: `lineside-forwarder [settings file]`."""

import sys


def main() -> None:
    """Run until SIGTERM."""
    sys.exit("not built yet")
