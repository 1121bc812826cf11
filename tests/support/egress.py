"""Which hosts a Python process reaches for: it tells each by Python's own audit events, and reaches this machine only.

What a library of C connects to by itself, as gRPC does, is not seen.
"""

import json
from collections.abc import Mapping
from pathlib import Path

_HERE = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "::", ""})  # noqa: S104 - compared, not bound
_HOOK = """
import json, os, sys

def _tell(event, arguments):
    if event == "socket.getaddrinfo":
        said = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        said = arguments[1][0]
    else:
        return
    if isinstance(said, bytes):
        said = said.decode()
    if said is None:
        return
    os.write(_FILE, json.dumps(said).encode() + b"\\n")
    if said not in _HERE:
        raise OSError(f"a test lets nothing reach {said}")

_HERE = {here!r}
_FILE = os.open(os.environ["TOLD_HOSTS"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
sys.addaudithook(_tell)
"""


class Egress:
    """A folder in which a process writes the hosts that it asks for."""

    def __init__(self, folder: Path) -> None:
        self._told = folder / "hosts"
        self._hook = folder / "hook"
        self._hook.mkdir()
        (self._hook / "sitecustomize.py").write_text(_HOOK.replace("{here!r}", repr(sorted(_HERE))))

    def environment(self, below: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which a process tells."""
        path = [str(self._hook), *filter(None, [below.get("PYTHONPATH")])]
        return {**below, "PYTHONPATH": ":".join(path), "TOLD_HOSTS": str(self._told)}

    @property
    def hosts(self) -> set[str]:
        """Names and addresses so far, this machine's own left out."""
        lines = self._told.read_text().splitlines() if self._told.exists() else []
        return {host for line in lines if (host := json.loads(line)) not in _HERE}
