"""GVCP, the control protocol of GigE Vision on UDP port 3956: its packets, without a socket. All numbers big-endian."""

import struct
from dataclasses import dataclass
from enum import IntEnum

PORT = 3956
_KEY = 0x42
_HEADER = struct.Struct(">BBHHH")
_WANTS_ACK = 0x01
_EXTENDED_ID = 0x10
_IS_SCHEDULED = 0x80
MOST_MEMORY = 536
"""Most bytes of one READMEM or WRITEMEM."""
_WORD = 4


class Command(IntEnum):
    """What is asked; the acknowledgement's number is one more."""

    DISCOVERY = 0x0002
    FORCEIP = 0x0004
    PACKETRESEND = 0x0040
    READREG = 0x0080
    WRITEREG = 0x0082
    READMEM = 0x0084
    WRITEMEM = 0x0086
    ACTION = 0x0100


PENDING_ACK = 0x0089


class Status(IntEnum):
    """What an acknowledgement, or a packet of the stream, says."""

    SUCCESS = 0x0000
    NOT_IMPLEMENTED = 0x8001
    INVALID_PARAMETER = 0x8002
    INVALID_ADDRESS = 0x8003
    WRITE_PROTECT = 0x8004
    BAD_ALIGNMENT = 0x8005
    ACCESS_DENIED = 0x8006
    PACKET_UNAVAILABLE = 0x800C
    INVALID_HEADER = 0x800E


class Refused(Exception):
    """A request that is answered with a status; `index` counts what was done of it before."""

    def __init__(self, status: Status, index: int = 0) -> None:
        super().__init__(status.name)
        self.status = status
        self.index = index


@dataclass(frozen=True)
class Request:
    """One command as it came."""

    command: int
    number: int
    """Its request id, never 0, repeated in the acknowledgement."""
    payload: bytes = b""
    flags: int = _WANTS_ACK

    @property
    def wants_ack(self) -> bool:
        """Return whether an answer is asked for."""
        return bool(self.flags & _WANTS_ACK)


@dataclass(frozen=True)
class Resend:
    """Packets `first` to `last` of a block of the stream, wanted again."""

    block: int
    first: int
    last: int


@dataclass(frozen=True)
class Action:
    """An action command; `at` is the camera's clock in ticks, None at once."""

    device_key: int
    group_key: int
    group_mask: int
    at: int | None = None


def parse(datagram: bytes) -> Request | None:
    """Return the command of a datagram, None where it is none, or not whole."""
    if len(datagram) < _HEADER.size:
        return None
    key, flags, command, length, number = _HEADER.unpack_from(datagram)
    payload = datagram[_HEADER.size :]
    if key != _KEY or number == 0 or length > len(payload):
        return None
    return Request(command, number, payload[:length], flags)


def command(command: int, number: int, payload: bytes = b"", *, flags: int = _WANTS_ACK) -> bytes:
    """Return the datagram of a command, as an application sends it."""
    return _HEADER.pack(_KEY, flags, command, len(payload), number) + payload


def ack(request: Request, payload: bytes = b"", status: Status = Status.SUCCESS) -> bytes:
    """Return the acknowledgement of a command."""
    return struct.pack(">HHHH", status, request.command + 1, len(payload), request.number) + payload


def pending(request: Request, wait_ms: int) -> bytes:
    """Return the word that the acknowledgement will take so many milliseconds."""
    return struct.pack(">HHHHHH", Status.SUCCESS, PENDING_ACK, 4, request.number, 0, wait_ms)


def addresses(payload: bytes) -> list[int]:
    """Return the registers that a READREG asks for; raises Refused."""
    if not payload or len(payload) % _WORD or len(payload) > MOST_MEMORY:
        raise Refused(Status.INVALID_HEADER)
    return list(struct.unpack(f">{len(payload) // _WORD}I", payload))


def register_writes(payload: bytes) -> list[tuple[int, int]]:
    """Return registers and values of a WRITEREG; raises Refused."""
    if not payload or len(payload) % (2 * _WORD) or len(payload) > MOST_MEMORY:
        raise Refused(Status.INVALID_HEADER)
    return list(struct.iter_unpack(">II", payload))


def memory_read(payload: bytes) -> tuple[int, int]:
    """Return address and length in bytes of a READMEM; raises Refused."""
    if len(payload) != 2 * _WORD:
        raise Refused(Status.INVALID_HEADER)
    address, count = struct.unpack(">IxxH", payload)
    if address % _WORD or count % _WORD:
        raise Refused(Status.BAD_ALIGNMENT)
    if not 0 < count <= MOST_MEMORY:
        raise Refused(Status.INVALID_PARAMETER)
    return address, count


def memory_write(payload: bytes) -> tuple[int, bytes]:
    """Return address and bytes of a WRITEMEM; raises Refused."""
    if len(payload) <= _WORD or len(payload) > MOST_MEMORY + _WORD:
        raise Refused(Status.INVALID_HEADER)
    (address,), data = struct.unpack_from(">I", payload), payload[_WORD:]
    if address % _WORD or len(data) % _WORD:
        raise Refused(Status.BAD_ALIGNMENT)
    return address, data


def resend(request: Request) -> Resend | None:
    """Return what a PACKETRESEND wants; None where it is none, or names 64 bit block ids, which are not spoken here."""
    if request.flags & _EXTENDED_ID or len(request.payload) < 3 * _WORD:
        return None
    block, first, last = struct.unpack_from(">xxHII", request.payload)
    return Resend(block, first & 0xFFFFFF, last & 0xFFFFFF)


def action(request: Request) -> Action | None:
    """Return an action command; None where it is none."""
    if len(request.payload) < 3 * _WORD:
        return None
    device_key, group_key, group_mask = struct.unpack_from(">III", request.payload)
    if not request.flags & _IS_SCHEDULED:
        return Action(device_key, group_key, group_mask)
    if len(request.payload) < 5 * _WORD:
        return None
    (at,) = struct.unpack_from(">Q", request.payload, 3 * _WORD)
    return Action(device_key, group_key, group_mask, at)


def forced_address(payload: bytes) -> tuple[bytes, bytes] | None:
    """Return the MAC that a FORCEIP means and the address that it shall take; None where it is none."""
    return (payload[2:8], payload[20:24]) if len(payload) >= 56 else None  # noqa: PLR2004 - the packet's length
