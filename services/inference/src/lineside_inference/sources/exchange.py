"""One HTTP/1.1 connection: a request out, a bounded answer in. The parsing is llhttp's, by httptools."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

MOST_HEADER_BYTES = 64 * 1024
_CONTINUE = 200  # a status below it is not yet the answer


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
        self._wrong: HttpError | None = None

    def ask(
        self, request: bytes, *, most_bytes: int, sink: Callable[[Answer, bytes], None] | None
    ) -> "asyncio.Future[Answer]":
        """Send a request; the future has its answer, or HttpError."""
        self._done = asyncio.get_running_loop().create_future()
        if self.transport is None or self.transport.is_closing():
            self._done.set_exception(HttpError("the peer closed the connection"))
            return self._done
        self._parser = httptools.HttpResponseParser(self)
        self._most_bytes = most_bytes
        self._sink = sink
        self._answer = Answer()
        self._header_bytes = 0
        self._in_body = self.can_keep = self.has_begun = False
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
        if not self._in_body:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(HttpError("it wants to speak another protocol"))
        except httptools.HttpParserError as error:
            self._fail(self._wrong or HttpError(f"what it sends is no HTTP: {error}"))
        if self._wrong is not None:
            self._fail(self._wrong)
        elif not self._in_body and self._header_bytes > MOST_HEADER_BYTES:
            self._fail(TooLarge(f"its header is larger than {MOST_HEADER_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request, well where the body lasts until the end."""
        if self._done is None or self._done.done():
            return
        if self._in_body and self._is_until_close():
            self._finish()
        else:
            where = f"after {len(self._answer.body)} bytes of its body" if self._in_body else "before its answer"
            self._fail(HttpError(f"it closed the connection {where}{f': {exc}' if exc else ''}"))

    def on_status(self, status: bytes) -> None:
        """Take a piece of the reason."""
        self._answer.reason += status.decode("latin-1")[:100]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._answer.headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        """See whether the body may be so large."""
        self._answer.status = self._parser.get_status_code()
        if self._answer.status < _CONTINUE:
            return
        self._in_body = True
        declared = self._answer.header("content-length")
        if declared.isdigit() and int(declared) > self._most_bytes and self._sink is None:
            self._wrong = self._too_large()

    def on_body(self, chunk: bytes) -> None:
        """Keep a chunk, or hand it on."""
        if self._wrong is not None:
            return
        if self._sink is not None:
            try:
                self._sink(self._answer, chunk)
            except Exception as error:  # noqa: BLE001 - it ends this request and is raised to who asked
                self._give_up(error)
            return
        self._answer.body += chunk
        if len(self._answer.body) > self._most_bytes:
            self._wrong = self._too_large()

    def on_message_complete(self) -> None:
        """Give the answer away."""
        if self._answer.status < _CONTINUE:
            self._answer = Answer()  # 100 Continue and the like: the answer follows
        elif self._wrong is None and self._done is not None and not self._done.done():
            self.can_keep = self._parser.should_keep_alive()
            self._finish()

    def _is_until_close(self) -> bool:
        headers = {name for name, _ in self._answer.headers}
        return not headers & {"content-length", "transfer-encoding"}

    def _too_large(self) -> TooLarge:
        return TooLarge(f"it sends more than {self._most_bytes} bytes")

    def _finish(self) -> None:
        self._answer.clock = time.monotonic()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def _fail(self, error: HttpError) -> None:
        self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(error)
        self.close()
