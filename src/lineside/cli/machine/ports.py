"""The ports that our services listen on: free, answered by the right service, or taken, and by whom."""

import http.client
import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineside.checks import Check, container, fail, ok, readyz, skip
from lineside.settings import HttpSettings, Settings

PORTS = "ports"

_LISTEN = "0A"
"""State LISTEN in /proc/net/tcp. Source: include/net/tcp_states.h of Linux."""

_IPV6 = 6

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Listener:
    """A socket that waits for connections; `inode` tells whose it is."""

    address: _Address
    port: int
    inode: str


def look(settings: Sequence[Settings], root: Path) -> Check:
    """Check which process listens on each port of the settings."""
    if kind := container(root):
        return skip(PORTS, f"in a container ({kind}) they are the container's own")
    wanted = {each.section: getattr(each, each.section).http for each in settings}
    heard = list(listeners(root))
    said, wrong = [], list(_twice(wanted))
    for section, http_settings in wanted.items():
        name, where = section.replace("_", "-"), f"{http_settings.host}:{http_settings.port}"
        takes = next((each for each in heard if in_the_way(each, http_settings)), None)
        if takes is None:
            said.append(f"{http_settings.port} {name} free")
        elif (who := _answers(section, http_settings)) == section:
            said.append(f"{http_settings.port} {name} runs")
        else:
            said.append(f"{http_settings.port} {name} taken")
            wrong.append(f"{where} of {name} is taken by {who or owner(takes.inode, root)}")
    if wrong:
        return fail(PORTS, "; ".join(wrong), "end that program, or set another http.port")
    return ok(PORTS, ", ".join(said) or "none are needed")


def listeners(root: Path) -> Iterator[Listener]:
    """Yield the sockets that listen for TCP in this network namespace; see proc_net_tcp in Linux's documentation."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (root / "proc/net" / name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:  # noqa: PLR2004 - the inode is the tenth
                address, port = fields[1].split(":")
                yield Listener(_address(address), int(port, 16), fields[9])


def _address(text: str) -> _Address:
    """Return an address from its hexadecimal words, each in the machine's own order of bytes (little-endian here)."""
    packed = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    found = ipaddress.ip_address(packed)
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def in_the_way(listener: Listener, settings: HttpSettings) -> bool:
    """Whether the service could not listen while this one does."""
    if listener.port != settings.port:
        return False
    try:
        ours = ipaddress.ip_address("127.0.0.1" if settings.host == "localhost" else settings.host)
    except ValueError:
        return True  # a name: which addresses it has is the resolver's to say
    if listener.address == ours:
        return True
    if listener.address.is_unspecified:  # every address of IPv6 takes IPv4's too, as a rule
        return listener.address.version in {ours.version, _IPV6}
    return ours.is_unspecified and ours.version in {listener.address.version, _IPV6}


def owner(inode: str, root: Path) -> str:
    """Return the process that has a socket, `another program` where we may not see it."""
    for process in (root / "proc").glob("[0-9]*"):
        try:
            held = any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (process / "fd").iterdir())
        except OSError:  # gone meanwhile, or another user's
            continue
        if held:
            command = re.sub(r"\s+", " ", (process / "comm").read_text(encoding="utf-8", errors="replace")).strip()
            return f"{command} (pid {process.name})"
    return "another program (as root this says which one)"


def _answers(section: str, settings: HttpSettings) -> str | None:
    """Return the section of the service of ours that answers there, None where it is none of ours."""
    try:
        _where, document = readyz(section, settings)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    named = document.get("service", section if "ready" in document else None)  # it says no more without its token
    return named if isinstance(named, str) else None


def _twice(wanted: dict[str, HttpSettings]) -> Iterator[str]:
    """Yield the ports that the settings give to two services."""
    by_port: dict[int, list[str]] = {}
    for section, settings in wanted.items():
        by_port.setdefault(settings.port, []).append(section)
    for port, sections in by_port.items():
        if len({wanted[section].host for section in sections}) < len(sections):
            yield f"{port} is the port of {' and of '.join(sections)} in the settings"
