"""Large bodies read straight into a handler's memory, on both loops: whole, or not at all, and nothing of the next."""

import asyncio
import functools
import hashlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
import uvloop
from prometheus_client import CollectorRegistry

from lineside.bounded_http import Cuts, make_connection
from lineside.buffered_http import DIRECT_BODY, LARGE_BODY

BODY = b"".join(number.to_bytes(4, "little") for number in range(200_000))
PATIENCE_S = 60.0
FACTORIES = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class App:
    """Reads the rest of each body into two pieces of memory, and answers its hash."""

    def __init__(self) -> None:
        self.was_direct: list[bool] = []
        self.memory = bytearray()
        self.gave_up = asyncio.Event()
        self.within_s: float | None = None
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        first: bytes = message["body"]
        direct = scope.get("extensions", {}).get(DIRECT_BODY)
        left = direct.left(scope) if direct is not None else 0
        self.was_direct.append(left > 0)
        if left:
            self.memory = bytearray(left)
            view = memoryview(self.memory)
            try:
                async with asyncio.timeout(self.within_s):
                    await direct.read_rest([view[: left // 3], view[:0], view[left // 3 :]])
            except ConnectionResetError:
                self.gone.set()
                return
            except TimeoutError:
                self.gave_up.set()
                await self.go_on.wait()
            assert self.within_s is not None or not (await receive())["more_body"]
        else:
            while message["more_body"]:
                message = await receive()
                first += message["body"]
        body = hashlib.sha256(first + self.memory if left else first).hexdigest().encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def serve(app: App) -> AsyncIterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    kind = functools.partial(make_connection, cuts=Cuts("lineside_x", CollectorRegistry()), direct_below=b"/direct/")
    server = uvicorn.Server(uvicorn.Config(app, http=kind, ws="none", log_config=None, lifespan="off"))  # type: ignore[arg-type]  # called as a class is
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = server.force_exit = True
        await running


@pytest.fixture(params=FACTORIES)
def run(request: Any) -> Callable[[Callable[[App, int], Awaitable[None]]], None]:
    """Run a test's own part against a server in one loop."""

    def run(part: Callable[[App, int], Awaitable[None]]) -> None:
        async def main() -> None:
            app = App()
            async with asyncio.timeout(PATIENCE_S), serve(app) as port:
                await part(app, port)

        with asyncio.Runner(loop_factory=FACTORIES[request.param]) as runner:
            runner.run(main())

    return run


def post(body: bytes, *fields: str) -> bytes:
    lines = ("POST /direct/ HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields, "", "")
    return "\r\n".join(lines).encode() + body


async def answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        return head + await answer(reader)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


def hashed(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode()


@pytest.mark.parametrize("pieces", [[], [50], [200, 300], [90_000, 91_000], [799_999]])
def test_every_byte_is_where_it_belongs_in_whatever_pieces_it_comes(run: Any, pieces: list[int]) -> None:
    async def part(app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _again in range(3):  # the connection is kept
            sent = post(BODY)
            for start, end in itertools.pairwise([0, *pieces, len(sent)]):
                writer.write(sent[start:end])
                await writer.drain()
            assert await answer(reader) == hashed(BODY)
        assert all(app.was_direct)
        writer.close()

    run(part)


def test_requests_in_one_packet_are_answered_one_behind_the_other(run: Any) -> None:
    bodies = [b"small", BODY, b"", BODY[:-4], BODY[: LARGE_BODY + 9], b"end"]

    async def part(_app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"".join(map(post, bodies)))
        assert [await answer(reader) for _ in bodies] == list(map(hashed, bodies))
        writer.close()

    run(part)


def test_who_waits_to_be_told_to_go_on_is_told(run: Any) -> None:
    async def part(_app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, _, body = post(BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
        writer.write(head + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        writer.write(body)
        assert await answer(reader) == hashed(BODY)
        writer.close()

    run(part)


def test_a_body_of_unknown_length_comes_as_ever(run: Any) -> None:
    async def part(app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /direct/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n")
        assert await answer(reader) == hashed(BODY)
        assert app.was_direct == [False]
        writer.close()

    run(part)


def test_a_client_that_goes_in_the_middle_is_known_to_be_gone(run: Any) -> None:
    async def part(app: App, port: int) -> None:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(BODY)[:-1])
        await writer.drain()
        writer.close()
        await app.gone.wait()

    run(part)


def test_a_read_that_was_given_up_puts_nothing_more_there_and_ends_the_connection(run: Any) -> None:
    async def part(app: App, port: int) -> None:
        app.within_s = 0.05
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(BODY)[:-1000])
        await writer.drain()
        await app.gave_up.wait()
        there = bytes(app.memory)
        writer.write(BODY[-1000:] + post(b"another"))
        await writer.drain()
        for _turn in range(50):  # of the loop that is also the server's: it has read that
            await asyncio.sleep(0)
        app.go_on.set()
        assert (await reader.read()).lower().count(b"connection: close") == 1  # and no second answer
        assert bytes(app.memory) == there
        assert there.endswith(bytes(1000))
        writer.close()

    run(part)


def test_elsewhere_bodies_come_as_ever(run: Any) -> None:
    async def part(app: App, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post(BODY).replace(b"/direct/", b"/other/", 1))
        assert await answer(reader) == hashed(BODY)
        assert app.was_direct == [False]
        writer.close()

    run(part)
