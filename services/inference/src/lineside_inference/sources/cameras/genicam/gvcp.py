"""Three commands of GigE Vision's control protocol: search, force an address, read a register. Pure datagrams.

The first two go to UDP port 3956 of everybody, since a camera whose address is wrong hears nothing else. Layouts after
GigE Vision 2.0: DISCOVERY, FORCEIP, READREG.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

PORT = 3956
DISCOVERY, FORCEIP, READREG = 0x0002, 0x0004, 0x0080
VERSION = 0x0000
"""The register of the protocol's version, which every camera has and shows to anybody."""
MOST_BYTES = 1024
_HEADER = struct.Struct(">BBHHH")
_ACK = struct.Struct(">HHHH")
_KEY = 0x42
_FLAGS = 0x11
"""An acknowledgement is wanted, and may go to everybody: a camera elsewhere knows no way to us alone."""
_TO_US = 0x01
_FORCE = struct.Struct(">2x6s12x4s12x4s12x4s")
_MAC_AT, _ADDRESS_AT, _MASK_AT, _DISCOVERED = 10, 36, 52, 248
_TEXTS = {"vendor": (72, 32), "model": (104, 32), "serial": (216, 16), "name": (232, 16)}
_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}")
_STATUSES = {
    0x8001: "it does not know this command",
    0x8002: "it refuses a parameter",
    0x8006: "access denied: a program has control of it",
    0x8007: "it is busy",
}


@dataclass(frozen=True)
class Answer:
    """An acknowledgement: to which command and request, its status and what it says."""

    command: int
    number: int
    status: int
    payload: bytes

    @property
    def problem(self) -> str:
        """Return why it was refused, in words; empty where it was not."""
        return "" if self.status == 0 else _STATUSES.get(self.status, f"status 0x{self.status:04x}")


@dataclass(frozen=True)
class Seen:
    """A camera as it answers a search, wherever its address is."""

    mac: str
    address: ipaddress.IPv4Address
    mask: ipaddress.IPv4Address
    vendor: str = ""
    model: str = ""
    serial: str = ""
    name: str = ""
    """The user-defined one; empty where it has none."""


def search(number: int) -> bytes:
    """Return the question who is there."""
    return _HEADER.pack(_KEY, _FLAGS, DISCOVERY, 0, number)


def read(number: int, register: int) -> bytes:
    """Return the question for a register."""
    return _HEADER.pack(_KEY, _TO_US, READREG, 4, number) + struct.pack(">I", register)


def force(number: int, mac: str, address: ipaddress.IPv4Interface, gateway: ipaddress.IPv4Address) -> bytes:
    """Return the order that the camera of a MAC takes an address until its power goes; gateway 0.0.0.0: none."""
    payload = _FORCE.pack(
        bytes.fromhex(mac.replace(":", "")), address.ip.packed, address.network.netmask.packed, gateway.packed
    )
    return _HEADER.pack(_KEY, _FLAGS, FORCEIP, len(payload), number) + payload


def parse(datagram: bytes) -> Answer | None:
    """Return an acknowledgement; None where it is none: anybody may send to our port."""
    if len(datagram) < _ACK.size:
        return None
    status, command, length, number = _ACK.unpack_from(datagram)
    payload = datagram[_ACK.size :]
    if command not in {DISCOVERY + 1, FORCEIP + 1, READREG + 1} or len(payload) < length:
        return None
    return Answer(command - 1, number, status, payload[:length])


def seen(payload: bytes) -> Seen | None:
    """Return the camera that answers a search; None where its answer is too short."""
    if len(payload) < _DISCOVERED:
        return None
    texts = {
        name: payload[at : at + length].split(b"\0")[0].decode("utf-8", "replace")
        for name, (at, length) in _TEXTS.items()
    }
    return Seen(
        mac=payload[_MAC_AT : _MAC_AT + 6].hex(":"),
        address=ipaddress.IPv4Address(payload[_ADDRESS_AT : _ADDRESS_AT + 4]),
        mask=ipaddress.IPv4Address(payload[_MASK_AT : _MASK_AT + 4]),
        **texts,
    )


def mac_of(text: str) -> str:
    """Return a MAC as aa:bb:cc:dd:ee:ff; raises ValueError where it is none."""
    word = text.strip().lower()
    if not _MAC.fullmatch(word):
        raise ValueError(f"{text!r} is no MAC, such as 00:30:53:12:34:56")
    return bytes.fromhex(re.sub("[:-]", "", word)).hex(":")
