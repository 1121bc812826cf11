"""GigE Vision's control protocol: search, force an address, read a register; `action` has the fourth command. Pure.

The first two go to UDP port 3956 of everybody, since a camera whose address is wrong hears nothing else. Layouts after
GigE Vision 2.0: DISCOVERY, FORCEIP, READREG.
"""

import ipaddress
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

PORT = 3956
DISCOVERY, FORCEIP, READREG, ACTION = 0x0002, 0x0004, 0x0080, 0x0100
VERSION = 0x0000
"""The register of the protocol's version, which every camera has and shows to anybody."""
MOST_BYTES = 1024
_HEADER = struct.Struct(">BBHHH")
_ACK = struct.Struct(">HHHH")
_KEY = 0x42
WANTS_ACK = 0x01
_TO_EVERYBODY = WANTS_ACK | 0x10
"""The acknowledgement may go to everybody: a camera elsewhere knows no way to us alone."""
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
        return self.problem_by(_STATUSES)

    def problem_by(self, words: Mapping[int, str]) -> str:
        """Return why it was refused, by a command's own words for statuses."""
        return "" if self.status == 0 else words.get(self.status, f"status 0x{self.status:04x}")


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


def command(what: int, number: int, payload: bytes, flags: int) -> bytes:
    """Return a command as it is sent."""
    return _HEADER.pack(_KEY, flags, what, len(payload), number) + payload


def search(number: int) -> bytes:
    """Return the question who is there."""
    return command(DISCOVERY, number, b"", _TO_EVERYBODY)


def read(number: int, register: int) -> bytes:
    """Return the question for a register."""
    return command(READREG, number, struct.pack(">I", register), WANTS_ACK)


def force(number: int, mac: str, address: ipaddress.IPv4Interface, gateway: ipaddress.IPv4Address) -> bytes:
    """Return the order that the camera of a MAC takes an address until its power goes; gateway 0.0.0.0: none."""
    payload = _FORCE.pack(
        bytes.fromhex(mac.replace(":", "")), address.ip.packed, address.network.netmask.packed, gateway.packed
    )
    return command(FORCEIP, number, payload, _TO_EVERYBODY)


def parse(datagram: bytes) -> Answer | None:
    """Return an acknowledgement; None where it is none: anybody may send to our port."""
    if len(datagram) < _ACK.size:
        return None
    status, acknowledged, length, number = _ACK.unpack_from(datagram)
    payload = datagram[_ACK.size :]
    if acknowledged - 1 not in {DISCOVERY, FORCEIP, READREG, ACTION} or len(payload) < length:
        return None
    return Answer(acknowledged - 1, number, status, payload[:length])


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
