"""Messages of the Amazon event stream: bytes to messages and back, without I/O.

A message is a prelude of 12 bytes (total length, length of the headers, CRC-32 of both), the headers, the payload and
the CRC-32 of all before it; numbers are big-endian. A header is its name's length in one byte, the name, one byte for
the type, and the value; of bytes and text a length of two bytes comes first. Source: the Smithy documentation,
"Amazon Event Stream specification".
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message of the format (AWS_EVENT_STREAM_MAX_MESSAGE_SIZE)."""
_MAX_HEADERS_BYTES = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CHECKSUM = struct.Struct(">I")
_FRAME_BYTES = _PRELUDE.size + _CHECKSUM.size
_TRUE, _FALSE, _INT32, _BYTES, _TEXT = 0, 1, 4, 6, 7
_FIXED = {2: ">b", 3: ">h", _INT32: ">i", 5: ">q", 8: ">q"}
"""Types of a fixed length that are numbers; 8 is a time in milliseconds since 1970."""
_UUID, _UUID_BYTES = 9, 16
_MAX_NAME_BYTES = 255

Value = bool | int | bytes | str


class FrameError(Exception):
    """What came is no message of this format, or a longer one than is taken; the connection cannot be used further."""


@dataclass(frozen=True)
class Frame:
    """One message: its headers, by name, and its payload."""

    headers: Mapping[str, Value] = field(default_factory=dict)
    payload: bytes = b""


def encode(frame: Frame) -> bytes:
    """Return a message as bytes. Numbers become 32 bits; raises FrameError for what does not fit the format."""
    headers = b"".join(_header(name, value) for name, value in frame.headers.items())
    total = _FRAME_BYTES + len(headers) + len(frame.payload)
    if total > MAX_MESSAGE_BYTES or len(headers) > _MAX_HEADERS_BYTES:
        raise FrameError(f"a message of {total} bytes; the format has at most {MAX_MESSAGE_BYTES}")
    lengths = struct.pack(">II", total, len(headers))
    body = lengths + _CHECKSUM.pack(zlib.crc32(lengths)) + headers + frame.payload
    return body + _CHECKSUM.pack(zlib.crc32(body))


class Decoder:
    """Bytes of one connection as they come, to messages; `max_bytes` is the longest message that is taken.

    A peer can make it hold no more than that: the length is judged as soon as the prelude is there.
    """

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the messages that are whole now. Raises FrameError; then the connection is lost."""
        self._held += data
        while (total := self._length()) is not None and len(self._held) >= total:
            whole = bytes(self._held[:total])
            del self._held[:total]
            yield _decode(whole)

    def _length(self) -> int | None:
        """Return how long the message is that begins here, None where its prelude is not there yet."""
        if len(self._held) < _PRELUDE.size:
            return None
        total, headers, checksum = _PRELUDE.unpack_from(self._held)
        if zlib.crc32(self._held[:8]) != checksum:
            raise FrameError("the checksum of a prelude is wrong: this is no event stream")
        if total > self._max_bytes:
            raise FrameError(f"a message of {total} bytes; at most {self._max_bytes} are taken")
        if headers > _MAX_HEADERS_BYTES or headers + _FRAME_BYTES > total:
            raise FrameError(f"headers of {headers} bytes in a message of {total}")
        return int(total)


def _decode(whole: bytes) -> Frame:
    body, checksum = whole[: -_CHECKSUM.size], whole[-_CHECKSUM.size :]
    if _CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
        raise FrameError("the checksum of a message is wrong")
    end = _PRELUDE.size + int(_PRELUDE.unpack_from(whole)[1])
    return Frame(dict(_headers(body[_PRELUDE.size : end])), body[end:])


@lru_cache(maxsize=1024, typed=True)
def _header(name: str, value: Value) -> bytes:
    written = name.encode()
    if not 0 < len(written) <= _MAX_NAME_BYTES:
        raise FrameError(f"header name {name!r}; it has 1 to {_MAX_NAME_BYTES} bytes")
    head = bytes([len(written)]) + written
    match value:
        case bool():
            return head + bytes([_TRUE if value else _FALSE])
        case int():
            return head + bytes([_INT32]) + struct.pack(_FIXED[_INT32], value)
        case bytes():
            return head + bytes([_BYTES]) + struct.pack(">H", len(value)) + value
        case str():
            text = value.encode()
            return head + bytes([_TEXT]) + struct.pack(">H", len(text)) + text


def _headers(data: bytes) -> Iterator[tuple[str, Value]]:
    at = 0
    try:
        while at < len(data):
            length = data[at]
            name = data[at + 1 : at + 1 + length].decode()
            at += 1 + length
            kind = data[at]
            at += 1
            value, at = _value(kind, data, at)
            yield name, value
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise FrameError(f"a header ends in the middle or is no text: {error}") from None


def _value(kind: int, data: bytes, at: int) -> tuple[Value, int]:
    """Return a header's value and where the next header begins."""
    if kind in {_TRUE, _FALSE}:
        return kind == _TRUE, at
    if kind in _FIXED:
        [number] = struct.unpack_from(_FIXED[kind], data, at)
        return int(number), at + struct.calcsize(_FIXED[kind])
    if kind == _UUID:
        return _exactly(data, at, _UUID_BYTES), at + _UUID_BYTES
    if kind in {_BYTES, _TEXT}:
        [length] = struct.unpack_from(">H", data, at)
        content = _exactly(data, at + 2, length)
        return content.decode() if kind == _TEXT else content, at + 2 + length
    raise FrameError(f"header type {kind}; there are 0 to 9")


def _exactly(data: bytes, at: int, length: int) -> bytes:
    if at + length > len(data):
        raise FrameError(f"a header's value of {length} bytes ends in the middle")
    return data[at : at + length]
