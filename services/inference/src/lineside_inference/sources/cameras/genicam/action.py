"""The action command of GigE Vision (GVCP ACTION_CMD): one datagram that fires every camera whose keys it names.

libaravis 0.8 has no call for it. A camera acts where its device key and group key are the command's, their masks have a
bit in common, and somebody has control of it.
"""

import struct
from dataclasses import dataclass

from lineside_inference.sources.cameras.genicam import gvcp

_IS_SCHEDULED = 0x80
_KEYS, _AT = struct.Struct(">III"), struct.Struct(">Q")
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
    flags = gvcp.WANTS_ACK
    if at_ns is not None:
        flags |= _IS_SCHEDULED
        payload += _AT.pack(at_ns)
    return gvcp.command(gvcp.ACTION, request_id, payload, flags)


def parse(datagram: bytes) -> Acknowledged | None:
    """Return what a datagram acknowledges, None where it is no acknowledgement of an action."""
    answer = gvcp.parse(datagram)
    if answer is None or answer.command != gvcp.ACTION:
        return None
    return Acknowledged(answer.number, answer.problem_by(_STATUS))
