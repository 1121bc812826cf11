"""One HTTP/1.1 connection: a request out, a bounded answer in.

Cameras break the standard in ways that every browser takes; `head` and `body` read what they send.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lineside_inference.sources.body import Body
from lineside_inference.sources.head import END, Head, read_head

MAX_HEADER_BYTES = 64 * 1024
_BEGINS = b"HTTP/"


class HttpError(Exception):
    """The peer was reached and broke the connection or the protocol."""


class Unreached(HttpError):
    """There was no connection at all."""


class TooLarge(HttpError):
    """The answer is larger than the bound."""


@dataclass
class Answer:
    """An HTTP answer; header names in lower case. `clock` is when its last byte was here, of time.monotonic()."""

    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    clock: float = 0.0

    def header(self, name: str, default: str = "") -> str:
        """Return the first header of this name."""
        return next((value for known, value in self.headers if known == name), default)


class Exchange(asyncio.Protocol):
    """One connection; answers one request at a time. A body's chunks go to `sink` where there is one."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.can_keep = False
        self.has_begun = False
        self._done: asyncio.Future[Answer] | None = None

    def ask(
        self, request: bytes, *, max_bytes: int, sink: Callable[[Answer, bytes], None] | None
    ) -> "asyncio.Future[Answer]":
        """Send a request; the future has its answer, or HttpError."""
        self._done = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            self._done.set_exception(HttpError("the peer closed the connection"))
            return self._done
        self._max_bytes = max_bytes
        self._sink = sink
        self._answer = Answer()
        self._begun = bytearray()  # what came of a head
        self._header_bytes = 0
        self._head: Head | None = None  # the answer's, once it is whole
        self._body: Body | None = None
        self.can_keep = self.has_begun = False
        self.transport.write(request)
        return self._done

    def close(self) -> None:
        """Drop the connection at once."""
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

    def data_received(self, data: bytes) -> None:
        """Read on; what is no HTTP, or too much, ends the request."""
        if self._done is None or self._done.done():
            self.close()  # nobody asked for this
            return
        self.has_begun = True
        try:
            if self._body is None:
                data = self._read_head(data)
            if self._body is not None:
                self._read_body(self._body, data)
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
            where = f"after {len(self._answer.body)} bytes of its body" if self._head else "before its answer"
            self._give_up(HttpError(f"it closed the connection {where}{f': {exc}' if exc else ''}"))

    def _read_head(self, data: bytes) -> bytes:
        """Take what belongs to the head, and what comes before it as 100 Continue; return what is left."""
        self._begun += data
        while True:
            if self._begun.startswith((b"\r", b"\n")):
                self._begun = self._begun.lstrip(b"\r\n")
            start = self._begun[: len(_BEGINS)]
            if not _BEGINS.startswith(start):
                raise ValueError(f"it begins with {bytes(self._begun[:40])!r}")
            end = END.search(self._begun, max(0, len(self._begun) - len(data) - 3))
            if self._header_bytes + (end.start() if end else len(self._begun)) > MAX_HEADER_BYTES:
                raise TooLarge(f"its header is larger than {MAX_HEADER_BYTES} bytes")
            if end is None:
                return b""
            head = read_head(bytes(self._begun[: end.start()]))
            data = bytes(self._begun[end.end() :])
            self._header_bytes += end.end()
            if head.is_final:
                self._begin_body(head)
                return data
            self._begun = bytearray(data)

    def _begin_body(self, head: Head) -> None:
        self._head = head
        self._body = Body(is_chunked=head.is_chunked, length=head.length)
        self._answer = Answer(head.status, head.reason, list(head.headers))
        if head.length is not None and head.length > self._max_bytes and self._sink is None:
            raise self._too_large()

    def _read_body(self, body: Body, data: bytes) -> None:
        for piece in body.feed(data) if data else ():
            if self._sink is not None:
                self._sink(self._answer, piece)
                continue
            self._answer.body += piece
            if len(self._answer.body) > self._max_bytes:
                raise self._too_large()
        if body.is_done:
            self.can_keep = self._head is not None and self._head.can_keep
            self._finish()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"it sends more than {self._max_bytes} bytes")

    def _finish(self) -> None:
        self._answer.clock = time.monotonic()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def _give_up(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.close()
