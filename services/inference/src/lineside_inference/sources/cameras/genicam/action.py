"""The action command of GigE Vision (GVCP ACTION_CMD): one datagram that fires every camera whose keys it names.

libaravis 0.8 has no call for it. A camera acts where its device key and group key are the command's, their masks have a
bit in common, and somebody has control of it.
"""

import struct
from dataclasses import dataclass

PORT = 3956
_MAGIC, _COMMAND, _ACKNOWLEDGED = 0x42, 0x0100, 0x0101
_WANTS_ACK, _IS_SCHEDULED = 0x01, 0x80
_HEADER, _KEYS, _AT, _ACK = struct.Struct(">BBHHH"), struct.Struct(">III"), struct.Struct(">Q"), struct.Struct(">HHHH")
_STATUS = {
    0x8006: "access denied",
    0x8013: "its clock is not kept by PTP",
    0x8014: "too many are scheduled",
    0x8015: "it came after its time",
}


@dataclass(frozen=True)
class Action:
    """Whom an action fires; each of 32 bits."""

    device_key: int
    group_key: int
    group_mask: int


@dataclass(frozen=True)
class Acknowledged:
    """A camera's answer to the command of an id; `problem` is empty where it acts."""

    request_id: int
    problem: str = ""


def encode(action: Action, request_id: int, at_ns: int | None = None) -> bytes:
    """Return the command that asks to be acknowledged; `request_id` is 1 to 65535, `at_ns` PTP's time to act at."""
    payload = _KEYS.pack(action.device_key, action.group_key, action.group_mask)
    flags = _WANTS_ACK
    if at_ns is not None:
        flags |= _IS_SCHEDULED
        payload += _AT.pack(at_ns)
    return _HEADER.pack(_MAGIC, flags, _COMMAND, len(payload), request_id) + payload


def parse(datagram: bytes) -> Acknowledged | None:
    """Return what a datagram acknowledges, None where it is no acknowledgement of an action."""
    if len(datagram) < _ACK.size:
        return None
    status, command, length, request_id = _ACK.unpack_from(datagram)
    if command != _ACKNOWLEDGED or len(datagram) < _ACK.size + length:
        return None
    return Acknowledged(request_id, "" if status == 0 else _STATUS.get(status, f"status 0x{status:04x}"))
