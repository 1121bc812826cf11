"""One HTTP/1.1 connection: a request out, a bounded response in.

Bytes are read into a small buffer of the connection until the head is complete; a body of known length is then received
straight into the memory where it stays.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lineside_inference.http1.body_memory import BodyMemory
from lineside_inference.http1.body_reader import BodyReader
from lineside_inference.http1.errors import HttpError, ResponseTooLarge
from lineside_inference.http1.response_head import END, ResponseHead, read_head

MAX_HEADER_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_BEGINS = b"HTTP/"


@dataclass
class Response:
    """An HTTP response; header names in lower case. `clock` is when its last byte came, of time.monotonic()."""

    status: int = 0
    reason: str = ""
    headers: Sequence[tuple[str, str]] = ()
    body: bytearray = field(default_factory=bytearray)
    clock: float = 0.0

    def header(self, name: str, default: str = "") -> str:
        """Return the first header of this name, which is given in lower case."""
        return next((value for known, value in self.headers if known == name), default)


class HttpConnection(asyncio.BufferedProtocol):
    """One connection; it carries one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.can_keep = False
        """Whether another request may be sent after the one that ended."""
        self.has_begun = False
        """Whether any byte of the response to the last request has come."""
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._done: asyncio.Future[Response] | None = None
        self._receives_body = False  # straight into the body's memory, and not into the buffer

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self.transport is not None and not self.transport.is_closing()

    def ask(
        self,
        request: Sequence[bytes | bytearray | memoryview],
        *,
        max_bytes: int,
        sink: Callable[[Response, bytes], None] | None = None,
    ) -> "asyncio.Future[Response]":
        """Send a request, given as the buffers it is made of; the future has its response, or HttpError.

        The pieces of the body of a 200 are given to `sink`, where there is one.
        """
        self._done = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            self._done.set_exception(HttpError("the peer closed the connection"))
            return self._done
        self._max_bytes = max_bytes
        self._sink = sink
        self._response = Response()
        self._head: ResponseHead | None = None  # the response's, once it is complete
        self._head_part = bytearray()  # what came of an incomplete head
        self._header_bytes = 0
        self.can_keep = self.has_begun = False
        self.transport.writelines(request)
        return self._done

    def close(self) -> None:
        """Drop the connection at once; nothing is received any more."""
        self._receives_body = False
        if self.transport is not None:
            self.transport.abort()

    def pause(self, seconds: float) -> None:
        """Take nothing more for a while; the peer is slowed down by TCP."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.transport = transport  # type: ignore[assignment]  # of a stream it is an asyncio.Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes are received."""
        del sizehint
        if self._receives_body:
            return self._memory.room(self._reader.left or 0)
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on; what is no HTTP, or too much, ends the request."""
        if self._done is None or self._done.done():
            self.close()  # nobody asked for this
            return
        self.has_begun = True
        try:
            if self._receives_body:
                self._memory.size += nbytes
                self._reader.took(nbytes)
                self._finish_when_complete()
            else:
                self._read(self._buffer[:nbytes])
        except ValueError as error:
            self._give_up(HttpError(f"what it sends is no HTTP: {error}"))
        except Exception as error:  # noqa: BLE001 - also the sink's: it ends this request and is raised to who asked
            self._give_up(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request, well where the body lasts until the end."""
        if self._done is None or self._done.done():
            return
        if self._head is not None and self._head.length is None and not self._head.is_chunked:
            self._finish()
        else:
            where = f"after {self._memory.size} bytes of its body" if self._head else "before its answer"
            self._give_up(HttpError(f"it closed the connection {where}{f': {exc}' if exc else ''}"))

    def _read(self, data: memoryview) -> None:
        rest = data if self._head is not None else self._read_head(data)
        if rest is None:
            return
        for piece in self._reader.feed(rest) if rest else ():
            if self._sink is not None:
                self._sink(self._response, bytes(piece))
            else:
                self._memory.add(piece)
        self._finish_when_complete()
        self._receives_body = (
            self._sink is None and not self._reader.is_done and self._head is not None and self._head.length is not None
        )

    def _read_head(self, data: memoryview) -> memoryview | None:
        """Take the head, and any 100 Continue before it; return what follows it, None where it is incomplete."""
        part = self._head_part
        seen = max(0, len(part) - 3)
        part += data
        while True:
            if part.startswith((b"\r", b"\n")):
                part[:] = part.lstrip(b"\r\n")
                seen = 0
            start = part[: len(_BEGINS)]
            if not _BEGINS.startswith(start):
                raise ValueError(f"it begins with {bytes(part[:40])!r}")
            end = END.search(part, seen)
            if self._header_bytes + (end.start() if end else len(part)) > MAX_HEADER_BYTES:
                raise ResponseTooLarge(f"its header is larger than {MAX_HEADER_BYTES} bytes")
            if end is None:
                return None
            head = read_head(bytes(part[: end.start()]))
            self._header_bytes += end.end()
            if head.is_final:
                self._begin_body(head)
                return data[len(data) - (len(part) - end.end()) :]
            del part[: end.end()]
            seen = 0

    def _begin_body(self, head: ResponseHead) -> None:
        self._head = head
        self._reader = BodyReader(is_chunked=head.is_chunked, length=head.length)
        self._response = Response(head.status, head.reason, head.headers)
        length = head.length if self._sink is None else None
        self._memory = BodyMemory(self._max_bytes, length)

    def _finish_when_complete(self) -> None:
        if self._reader.is_done:
            self.can_keep = self._head is not None and self._head.can_keep and not self._reader.has_excess
            self._finish()

    def _finish(self) -> None:
        self._receives_body = False
        self._response.body = self._memory.content
        self._response.clock = time.monotonic()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._response)

    def _give_up(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.close()
