"""How the bytes of a connection are moved: in straight into memory that a handler gives, out in one piece.

A handler of a large body finds the connection in its scope, `scope["extensions"][DIRECT_BODY]`, and may let the kernel
put the body where it belongs. Everything else about the connection stays with uvicorn and the bounds of
`bounded_http`.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

DIRECT_BODY = "lineside.direct_body"
LARGE_BODY = 64 * 1024
"""Bytes of a body from which it stays in the socket until its handler asks for it."""
_PIECE = 256 * 1024
_HEAD = 16 * 1024
_buffer = memoryview(bytearray(_PIECE))  # of all connections: what is in it is taken before the next one reads


class DirectBody(Protocol):
    """The body of the request at work, as far as it has not been received."""

    def left(self, scope: Scope) -> int:
        """Return its bytes; 0 where they are not known, or are not those of this request."""

    async def read_rest(self, parts: Sequence[memoryview]) -> None:
        """Fill all of the parts, one behind the other, with what is left, which they must hold exactly.

        Raises ConnectionResetError where the client goes away. A call that is cancelled puts nothing more into the
        parts, and the connection ends with the answer.
        """


class Connection(Protocol):
    """What stands behind the transport: uvicorn's protocol, with its bounds."""

    wanted: memoryview | None
    """Where the next bytes go; None: they are for the parser."""

    @property
    def is_in_body(self) -> bool:
        """Whether the next bytes are a body's."""

    def came(self, size: int) -> None:
        """Take note of so many bytes that are in `wanted` now."""

    def connection_made(self, transport: asyncio.Transport) -> None: ...  # noqa: D102 - asyncio's own from here on
    def connection_lost(self, exc: Exception | None) -> None: ...  # noqa: D102
    def data_received(self, data: bytes) -> None: ...  # noqa: D102
    def eof_received(self) -> None: ...  # noqa: D102
    def pause_writing(self) -> None: ...  # noqa: D102
    def resume_writing(self) -> None: ...  # noqa: D102


class BufferedConnection(asyncio.BufferedProtocol):
    """What the transport sees of a connection: no buffer of its own, and none made for what comes."""

    def __init__(self, http: Connection) -> None:
        self._http = http
        self.connection_lost = http.connection_lost  # type: ignore[method-assign]
        self.eof_received = http.eof_received  # type: ignore[method-assign]
        self.pause_writing = http.pause_writing  # type: ignore[method-assign]
        self.resume_writing = http.resume_writing  # type: ignore[method-assign]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._http.connection_made(transport)  # type: ignore[arg-type]  # a server's transport writes too

    def get_buffer(self, sizehint: int) -> Any:  # noqa: ARG002 - what is free here does not depend on it
        """Return where the next bytes go: those of a head in small pieces, so that little of a body comes with it."""
        if (wanted := self._http.wanted) is not None:
            return wanted
        return _buffer if self._http.is_in_body else _buffer[:_HEAD]

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came."""
        if self._http.wanted is not None:
            self._http.came(nbytes)
        else:
            self._http.data_received(bytes(_buffer[:nbytes]))


class JoinedWrites:
    """A cycle's transport, which sends the head of an answer together with the first piece of its body.

    Only where a body follows for sure: its length is in the head. In two pieces it wakes the client twice.
    """

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head = b""
        self._is_head_out = False

    def write(self, data: bytes | memoryview) -> None:
        """Send, or keep the head for a moment."""
        cycle = self._cycle
        if self._head:
            head, self._head = self._head, b""
            if len(data) <= LARGE_BODY:
                self._transport.write(b"".join((head, data)))
            else:
                self._transport.writelines((head, data))
        elif cycle.response_started and not self._is_head_out:
            self._is_head_out = True
            if cycle.chunked_encoding is False and cycle.scope["method"] != "HEAD":
                self._head = bytes(data)
            else:
                self._transport.write(data)
        else:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Send what was kept, and close."""
        if self._head:
            self.write(b"")
        self._transport.close()
