"""What this machine tells of the way on which a camera's packets come, by the files of Linux."""

import fcntl
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lineside_inference.sources.cameras.genicam.advice import Channel, Way

_SIOCGIFADDR = 0x8915
_NAME_BYTES = 15
_ANY_PORT = 9
_PROC, _SYS = Path("/proc"), Path("/sys/class/net")
_DROPPED = ("rx_missed_errors", "rx_fifo_errors")
_DAMAGED = ("rx_crc_errors", "rx_frame_errors")
_MEGABIT = 1_000_000


@dataclass(frozen=True)
class Files:
    """Where Linux tells it; another place for tests."""

    proc: Path = _PROC
    net: Path = _SYS


def look(channel: Channel | None, interface: str | None, files: Files | None = None) -> Way:
    """Return the way as it is now; its drops and damaged packets are since the start of the machine or the socket."""
    files = files or Files()
    folder = files.net / (interface or "none")
    by_packet_socket = bool(inodes(_text(files.proc / "net/packet")) & _own_sockets(files.proc / "self/fd"))
    speed = _number(folder / "speed")  # -1 where the card has no link
    return Way(
        interface=interface,
        mtu=_number(folder / "mtu") if interface else None,
        bits_a_second=speed * _MEGABIT if interface and speed and speed > 0 else None,
        rmem_max=_number(files.proc / "sys/net/core/rmem_max"),
        by_packet_socket=by_packet_socket,
        socket_drops=dropped(_text(files.proc / "net/udp"), channel.port) if channel and not by_packet_socket else 0,
        card_drops=sum(_number(folder / "statistics" / each) or 0 for each in _DROPPED) if interface else 0,
        card_errors=sum(_number(folder / "statistics" / each) or 0 for each in _DAMAGED) if interface else 0,
    )


def since(before: Way, after: Way) -> Way:
    """Return the way with what was dropped and damaged between two looks; a counter that was put back counts as 0."""
    return replace(
        after,
        socket_drops=max(0, after.socket_drops - before.socket_drops),
        card_drops=max(0, after.card_drops - before.card_drops),
        card_errors=max(0, after.card_errors - before.card_errors),
    )


def dropped(table: str, port: int) -> int:
    """Return how many packets the sockets of a UDP port dropped, by the table of /proc/net/udp."""
    count = 0
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) > 2 and words[1].endswith(f":{port:04X}") and words[-1].isdecimal():  # noqa: PLR2004 - its columns
            count += int(words[-1])
    return count


def inodes(table: str) -> set[str]:
    """Return the inodes of the packet sockets in the table of /proc/net/packet."""
    return {line.split()[-1] for line in table.splitlines()[1:] if line.strip()}


def interface_of(host: str) -> str | None:
    """Return the network interface that has an address of ours as its first, None where none has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            try:
                told = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", name.encode()[:_NAME_BYTES]))
            except OSError:  # it has no address
                continue
            if socket.inet_ntoa(told[20:24]) == host:
                return name
    return None


def local_address(peer: str) -> str:
    """Return this machine's address on the way to a peer; 0.0.0.0 where there is no way. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect((peer, _ANY_PORT))
        except OSError:
            return "0.0.0.0"  # noqa: S104 - nobody's
        return str(asking.getsockname()[0])


def _own_sockets(folder: Path) -> set[str]:
    found = set()
    try:
        for each in folder.iterdir():
            with suppress(OSError):  # it was closed meanwhile
                found.add(str(each.readlink()).removeprefix("socket:[").removesuffix("]"))
    except OSError:
        return set()
    return found


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", errors="replace")
    except OSError:
        return ""
