"""A TCP proxy that breaks the connection to a server: refused, reset, cut, stalled, slow, or replies lost."""

import asyncio
import contextlib
import socket
import struct
from typing import Literal, Self

Mode = Literal["pass", "reset", "black-hole", "half-open", "lose-replies"]


class FaultProxy:
    """Passes connections on to a port of this machine until told otherwise; new faults reach open connections too.

    `mode`: reset, each connection is reset as it comes; black-hole, nothing is passed on until the mode changes;
    half-open, requests arrive, replies wait until the mode changes; lose-replies, requests arrive, replies are
    discarded. `cut_after` resets a connection after so many bytes from the client, `cut_reply_after` after so many
    from the server. `bytes_s` is the rate to the server, `delay_s` the wait before each piece. `connections` and `cuts`
    count connections that came and that were reset by a fault. It listens on `listens_on`, or on any free port: `port`
    says which once it is up.
    """

    def __init__(self, port: int, *, listens_on: int = 0) -> None:
        self.mode: Mode = "pass"
        self.cut_after: int | None = None
        self.cut_reply_after: int | None = None
        self.bytes_s: float | None = None
        self.delay_s = 0.0
        self.connections = 0
        self.cuts = 0
        self.port = listens_on
        self._server_port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.down()

    @property
    def endpoint(self) -> str:
        """The proxy as an OPC UA server's address."""
        return f"opc.tcp://127.0.0.1:{self.port}"

    async def up(self) -> None:
        """Listen; after `down` on the same port again."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, start_serving=False)
        self.port = self._server.sockets[0].getsockname()[1]
        await self._server.start_serving()

    async def down(self) -> None:
        """Reset open connections and refuse new ones."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if server is not None:
            await server.wait_closed()

    def reset(self) -> None:
        """Reset every open connection."""
        for writer in list(self._open):
            _reset(writer)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is None:  # accepted before `down`, reported only now
            _reset(writer)
            return
        self._open.add(writer)  # here, for a task that is cancelled before it begins closes nothing
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        upstream: asyncio.StreamWriter | None = None
        try:
            if self.mode == "reset":
                self.cuts += 1
                _reset(writer)
                return
            server, upstream = await asyncio.open_connection("127.0.0.1", self._server_port)
            ways = [
                asyncio.ensure_future(self._pass(reader, upstream, writer, is_reply=False)),
                asyncio.ensure_future(self._pass(server, writer, writer, is_reply=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass
        finally:
            self._open.discard(writer)
            ends = [end for end in (writer, upstream) if end is not None]
            for end in ends:  # both, before a wait that may be cancelled
                end.close()
            for end in ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _piece(self, source: asyncio.StreamReader, *, is_reply: bool) -> bytes:
        """Return the next bytes that are passed on or lost as one; none at the end."""
        del is_reply
        return await source.read(16 * 1024)

    def _is_lost(self, piece: bytes, *, is_reply: bool) -> bool:
        """Return whether a piece is discarded."""
        del piece
        return is_reply and self.mode == "lose-replies"

    async def _pass(
        self, source: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := await self._piece(source, is_reply=is_reply):
                if self._is_lost(data, is_reply=is_reply):
                    continue
                while self.mode == "black-hole" or (self.mode == "half-open" and is_reply):
                    await asyncio.sleep(0.01)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_s and not is_reply:
                    await asyncio.sleep(len(data) / self.bytes_s)
                limit = self.cut_reply_after if is_reply else self.cut_after
                if limit is not None and passed + len(data) > limit:
                    to.write(data[: max(0, limit - passed)])
                    await to.drain()
                    self.cuts += 1
                    _reset(client)
                    return
                to.write(data)
                await to.drain()
                passed += len(data)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its peer sees a reset."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
