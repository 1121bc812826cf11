"""What Stream Manager's protocol 1.1.0 looks like as bytes.

A connection begins with one byte each way, the connect version 1. Then frames follow: four bytes of length, big-endian
and signed, which count the operation and the payload; one byte of operation; a map in CBOR. Every request has a
`requestId`, which its answer carries. Found by watching the official client (PyPI `stream-manager` 1.1.2).
"""

import asyncio
import struct
from enum import IntEnum
from typing import Any

import cbor2

CONNECT_VERSION = b"\x01"
PROTOCOL = "1.1.0"
OLDER_PROTOCOLS = ["1.0.0"]
MAX_FRAME = 16 * 1024 * 1024
"""Longest frame that is taken, in bytes; the protocol allows 1 GiB, what is asked for here stays far below."""

_HEAD = struct.Struct(">ib")


class Operation(IntEnum):
    """What a frame asks or answers."""

    CONNECT = 1
    CREATE = 2
    DELETE = 3
    APPEND = 4
    READ = 5
    CONNECTED = 6
    CREATED = 7
    DELETED = 8
    APPENDED = 9
    MESSAGES = 10
    LIST = 11
    LISTED = 12
    DESCRIBE = 13
    DESCRIBED = 14
    UPDATE = 15
    UPDATED = 16
    UNKNOWN_OPERATION = 17


class Code(IntEnum):
    """How an answer ends: `status` of every answer."""

    SUCCESS = 0
    UNKNOWN_FAILURE = 1
    UNAUTHORIZED = 2
    INVALID_REQUEST = 3
    REQUEST_TOO_LARGE = 4
    RESOURCE_NOT_FOUND = 5
    SERVER_TIMEOUT = 6
    RESPONSE_TOO_LARGE = 7
    UNSUPPORTED_CONNECT_VERSION = 8
    UNEXPECTED_OPERATION = 9
    UNSUPPORTED_PROTOCOL_VERSION = 10
    INVALID_PROTOCOL_VERSION = 11
    FAILED_TO_CONNECT = 12
    NOT_ENOUGH_MESSAGES = 13
    STORE_READ_ERROR = 14
    OUT_OF_MEMORY = 15
    UPDATE_FAILED = 16
    UPDATE_NOT_ALLOWED = 17
    UNKNOWN_OPERATION = 18


class WireError(Exception):
    """What came is no frame of this protocol; nothing after it can be read."""


def encode(operation: Operation, body: dict[str, Any]) -> bytes:
    """Return a frame."""
    payload = cbor2.dumps(body)
    return _HEAD.pack(len(payload) + 1, operation) + payload


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    """Return the next frame's operation, which may be one that is not known here, and its map.

    Raises WireError where it is no frame, asyncio.IncompleteReadError where the connection ends.
    """
    length, operation = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if not 1 <= length <= MAX_FRAME:
        raise WireError(f"a frame of {length} bytes: allowed are 1 to {MAX_FRAME}")
    payload = await reader.readexactly(length - 1)
    try:
        body = cbor2.loads(payload)
    except Exception as error:  # noqa: BLE001 - whatever the decoder meets in bytes that are none of ours
        raise WireError(f"a frame that is no CBOR: {type(error).__name__}: {error}") from None
    if not isinstance(body, dict):
        raise WireError(f"a frame that holds {type(body).__name__}, not a map")
    return operation, body
