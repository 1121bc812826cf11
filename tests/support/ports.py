"""Ports of this machine for programs that cannot say which port the system gave them."""

import contextlib
import secrets
import socket
from collections.abc import Iterator

LOWEST, HIGHEST = 21_000, 32_000
"""Where ports are looked for: below those that Linux gives to outgoing connections (32768 and above)."""


def free_ports(count: int) -> list[int]:
    """Return different ports that nothing listens on now.

    Until the program under test binds its port somebody else may: another test that draws the same number of 11,000 in
    these moments. No outgoing connection is given one meanwhile. A test that can bind port 0, or keep its socket, does
    that instead.
    """
    found: set[int] = set()
    while len(found) < count:
        port = LOWEST + secrets.randbelow(HIGHEST - LOWEST)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.add(port)
    return list(found)


def free_port() -> int:
    """Return a port that nothing listens on now; see `free_ports`."""
    return free_ports(1)[0]


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port that refuses connections: it is bound, so that no one else gets it, and nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
