"""A small HTTP/1.1 client: connections that are kept open, every response bounded.

It follows no redirects, undoes no compression, knows no proxy and keeps no cookies. Why it is not a library:
docs/decisions/0006.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from lineside_inference.http1.connection import HttpConnection, Response
from lineside_inference.http1.errors import ConnectFailed, HttpError
from lineside_inference.http1.target import Target

_KEEP_S = 4.0  # less than the 5 seconds after which many servers close
_MAX_IDLE = 64

Sink = Callable[[Response, bytes], float | None]
"""Takes a piece of a body as it comes; returns for how many seconds to receive no more, or None."""
Addresses = Callable[[str, int], Awaitable[list[str]]]
"""Says to which addresses a host and port may be connected to; raises where to none."""


class HttpClient:
    """Connections to many peers, as many to each as there are requests at the same time; idle ones are kept 4 s.

    `ca_file` is a PEM file of the authorities that https peers are checked by, None for the system's. Without
    `addresses` a host is looked up by the event loop.
    """

    def __init__(self, *, ca_file: str | None = None, addresses: Addresses | None = None) -> None:
        self._ca_file = ca_file
        self._addresses = addresses
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[tuple[bool, str, int], list[HttpConnection]] = {}

    async def request(
        self,
        target: Target,
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: Sequence[bytes | bytearray | memoryview] = (),
        max_bytes: int,
        sink: Sink | None = None,
    ) -> Response:
        """Return the response to a request; Host and Content-Length are set here.

        `body` is sent buffer after buffer, not joined; the buffers (of bytes) must not change before the response is
        here. A response body of more than `max_bytes` is refused, also while it comes; or its pieces go to `sink`,
        unbounded.

        A kept connection that was closed before any byte of the response came is replaced once and the request sent
        again: ask only for what may be done twice. The caller bounds the time by asyncio.timeout; a request that is
        cancelled closes its connection. Raises HttpError, ConnectFailed or ResponseTooLarge, and whatever `addresses`
        and `sink` raise.
        """
        lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.authority}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {sum(map(len, body))}")
        request = ["\r\n".join([*lines, "\r\n"]).encode("latin-1"), *body]
        connection = self._take(target)
        if connection is not None:
            try:
                return await self._ask(connection, target, request, max_bytes, sink)
            except HttpError:
                if connection.has_begun:
                    raise
        return await self._ask(await self._connect(target), target, request, max_bytes, sink)

    async def probe(self, target: Target) -> None:
        """Connect without asking for anything, or find a connection that was used just now; raises ConnectFailed."""
        kept = self._take(target)
        if kept is None:
            self._keep(target, await self._connect(target))
        else:
            self._idle[target.tls, target.host, target.port].append(kept)  # as old as it was

    def close(self) -> None:
        """Drop the connections that are idle."""
        for kept in self._idle.values():
            for connection in kept:
                connection.close()
        self._idle.clear()

    async def _ask(
        self,
        connection: HttpConnection,
        target: Target,
        request: Sequence[bytes | bytearray | memoryview],
        max_bytes: int,
        sink: Sink | None,
    ) -> Response:
        def pour(response: Response, piece: bytes) -> None:
            wait = sink(response, piece) if sink is not None else None
            if wait:
                connection.pause(wait)

        try:
            response = await connection.ask(request, max_bytes=max_bytes, sink=pour if sink is not None else None)
        except BaseException:
            connection.close()
            raise
        if connection.can_keep:
            self._keep(target, connection)
        else:
            connection.close()
        return response

    def _take(self, target: Target) -> HttpConnection | None:
        kept = self._idle.get((target.tls, target.host, target.port), [])
        while kept:
            connection = kept.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _KEEP_S:
                return connection
            connection.close()
        return None

    def _keep(self, target: Target, connection: HttpConnection) -> None:
        kept = self._idle.setdefault((target.tls, target.host, target.port), [])
        connection.idle_since = time.monotonic()
        kept.append(connection)
        if len(kept) > _MAX_IDLE:
            kept.pop(0).close()

    async def _connect(self, target: Target) -> HttpConnection:
        addresses = [target.host] if self._addresses is None else await self._addresses(target.host, target.port)
        failed: Exception | None = None
        for address in addresses:
            try:
                _transport, connection = await asyncio.get_running_loop().create_connection(
                    HttpConnection,
                    address,
                    target.port,
                    ssl=self._context() if target.tls else None,
                    server_hostname=target.host if target.tls else None,
                )
            except (OSError, ssl.SSLError, UnicodeError) as error:
                failed = error
            else:
                return connection
        raise ConnectFailed(_reason(failed)) from None

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context(cafile=self._ca_file)
        return self._tls


def _reason(error: Exception | None) -> str:
    return getattr(error, "strerror", None) or str(error or "") or type(error).__name__
