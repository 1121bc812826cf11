"""Calls to Triton's HTTP port, which answers a small one in about half the time that its gRPC port needs.

Health, models and shared memory stay with gRPC; whatever fails here is raised as gRPC would raise it, so that one table
says what it means. Connections are kept. One that Triton closed while it was idle shows that only by the next call on
it: that raises StaleConnection, and the caller may send it again, on a new connection.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import grpc
import httptools
from grpc.aio import AioRpcError, Metadata
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.message import LENGTH, Buffer, HttpReplies, InferMessage, Reply

MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""Largest body of an answer."""
_MAX_IDLE = 64
_OK = 200
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


_NOTHING = Reply(pb.ModelInferResponse(), ())


class StaleConnection(AioRpcError):  # type: ignore[misc]  # grpc has no types
    """A kept connection was closed before anything of the answer came."""


class TritonHttp:
    """Kept connections to one HTTP port; as many as there are calls at the same time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._host, _, port = url.rpartition(":")
        self._port = int(port)
        self._idle: list[_Wire] = []
        self._all: set[_Wire] = set()
        self._replies = HttpReplies()

    def infer(self, message: InferMessage) -> "asyncio.Future[Reply]":
        """Make one call; the future raises AioRpcError as the gRPC stub does. Cancelling it closes its connection."""
        return self._send(message.as_http(self.url))

    async def is_there(self, path: str, timeout_s: float) -> bool:
        """Return whether a GET is answered 200 by so much JSON as Triton's own answers have."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._send([f"GET {path} HTTP/1.1\r\nHost: {self.url}\r\n\r\n".encode()], is_call=False)
        except (AioRpcError, TimeoutError):
            return False
        return True

    def close(self) -> None:
        """Close every connection; calls under way fail."""
        for wire in list(self._all):
            wire.close()

    def _send(self, request: Sequence[Buffer], *, is_call: bool = True) -> "asyncio.Future[Reply]":
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open:
                return wire.ask(request, is_call=is_call)
        return asyncio.ensure_future(self._connect(request, is_call=is_call))

    async def _connect(self, request: Sequence[Buffer], *, is_call: bool) -> Reply:
        loop = asyncio.get_running_loop()
        try:
            _transport, wire = await loop.create_connection(
                lambda: _Wire(self._all, self._idle, self._replies), self._host, self._port
            )
        except OSError as error:
            raise _error(grpc.StatusCode.UNAVAILABLE, f"Triton's HTTP port: {error}") from None
        return await wire.ask(request, is_call=is_call)


class _Wire(asyncio.Protocol):
    """One connection; one call at a time."""

    def __init__(self, known: "set[_Wire]", idle: "list[_Wire]", replies: HttpReplies) -> None:
        self._known = known
        self._idle = idle
        self._replies = replies
        self._transport: Any = None
        self._answer: asyncio.Future[Reply] | None = None
        self._is_call = True
        self._is_used = False  # answered a call before
        self._is_silent = True  # nothing of the answer came
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._size = 0
        self._json_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether a call can be made."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: Sequence[Buffer], *, is_call: bool) -> "asyncio.Future[Reply]":
        """Send a request."""
        self._answer = answer = asyncio.get_running_loop().create_future()
        answer.add_done_callback(self._is_wanted_no_more)
        self._is_call = is_call
        self._is_silent = True
        if len(request) == 1:
            self._transport.write(request[0])
        else:
            self._transport.writelines(request)
        return answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._known.add(self)

    def data_received(self, data: bytes) -> None:
        self._is_silent = False
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, ValueError) as error:
            why = error.__context__ or error  # the parser's error hides that of what it calls
            self._end(_error(grpc.StatusCode.INTERNAL, f"Triton's HTTP port answered what cannot be read: {why}"))
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self)
        why = f"Triton's HTTP port: {exc or 'the connection was closed'}"
        kind = StaleConnection if self._is_used and self._is_silent else AioRpcError
        self._end(_error(grpc.StatusCode.UNAVAILABLE, why, kind))

    def on_message_begin(self) -> None:
        self._parts = []
        self._size = self._json_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == LENGTH:
            self._json_bytes = int(value)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
        self._parts.append(body)

    def on_message_complete(self) -> None:
        answer, self._answer = self._answer, None
        if not self._parser.should_keep_alive() or answer is None:
            self.close()
        elif len(self._idle) < _MAX_IDLE:
            self._is_used = True
            self._idle.append(self)
        else:
            self.close()
        parts, self._parts = self._parts, []
        if answer is None or answer.done():
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        if (status := self._parser.get_status_code()) != _OK:
            answer.set_exception(_error(_CODES.get(status, grpc.StatusCode.INTERNAL), _reason(body)))
            return
        try:
            answer.set_result(self._replies.read(body, self._json_bytes) if self._is_call else _NOTHING)
        except ValueError as error:
            why = f"Triton's HTTP port answered what cannot be read: {error}"
            answer.set_exception(_error(grpc.StatusCode.INTERNAL, why))

    def _is_wanted_no_more(self, answer: "asyncio.Future[Reply]") -> None:
        if answer.cancelled():
            self.close()

    def _end(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(error)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")


def _error(code: grpc.StatusCode, details: str, kind: type[AioRpcError] = AioRpcError) -> AioRpcError:
    return kind(code, Metadata(), Metadata(), details=details)
