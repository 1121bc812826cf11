"""A real server of ours, and clients that send heads without end, say nothing, or take nothing."""

import asyncio
import functools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import uvicorn
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lineside import bounded_http
from lineside.bounded_http import HEAD_BYTES, HEAD_FIELDS, Cuts, make_connection
from tests.support.waiting import until

MUCH = b"x" * (32 * 1024 * 1024)
GET = b"GET /here HTTP/1.1\r\nHost: x\r\n"
PATIENCE_S = 60.0


async def here(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def much(_request: Request) -> Response:
    return Response(MUCH)


class Serving:
    """The server's address, what it counted, and a way to hold a request at work."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.go_on = asyncio.Event()
        self.at_work = asyncio.Event()
        self.port = 0

    def cut(self, why: str) -> float:
        return self.registry.get_sample_value("lineside_x_http_connections_cut_total", {"why": why}) or 0.0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> bytes:
        """Send it on a connection of its own and return all that comes until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await until_closed(reader)
        finally:
            writer.close()


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


@pytest.fixture
def serving() -> Callable[..., Any]:
    @asynccontextmanager
    async def serve(most: int = 512) -> AsyncIterator[Serving]:
        serving = Serving()

        async def held(_request: Request) -> Response:
            serving.at_work.set()
            await serving.go_on.wait()
            return PlainTextResponse("done")

        routes = [
            Route("/here", here, methods=["GET", "POST"]),
            Route("/much", much),
            Route("/held", held),
        ]
        listener = socket.create_server(("127.0.0.1", 0))
        serving.port = listener.getsockname()[1]
        kind = functools.partial(make_connection, cuts=Cuts("lineside_x", serving.registry), max_connections=most)
        config = uvicorn.Config(Starlette(routes=routes), http=kind, ws="none", log_config=None)
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve([listener]))
        try:
            yield serving
        finally:
            serving.go_on.set()
            server.should_exit = server.force_exit = True
            await running

    return serve


async def test_a_head_within_the_bounds_is_answered(serving: Callable[..., Any]) -> None:
    async with serving() as server:
        fields = b"".join(b"a%d: %s\r\n" % (number, b"y" * 200) for number in range(100))
        answer = await server.ask(GET + fields + b"Connection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200")


async def test_a_large_body_behind_a_head_that_came_in_pieces_is_no_head(serving: Callable[..., Any]) -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        head = b"POST /here HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3000000\r\n"
        for piece in (head[:9], head[9:30], head[30:]):
            writer.write(piece)
            await writer.drain()
        writer.write(b"\r\n" + b"z" * 3_000_000)
        assert (await until_closed(reader)).endswith(b"3000000")
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(GET + b"a: b\r\n" * (HEAD_FIELDS + 1) + b"\r\n", id="many fields"),
        pytest.param(GET + b"a: " + b"y" * 3_000_000, id="one field without end"),
        pytest.param(b"GET /" + b"y" * 3_000_000, id="a path without end"),
        pytest.param(GET + b"a: " + b"y" * HEAD_BYTES + b"\r\n\r\n", id="a long field, whole"),
        pytest.param(
            b"POST /here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\na: "
            + b"y" * 3_000_000,
            id="a trailer without end",
        ),
        pytest.param(
            b"POST /here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"y" * 3_000_000,
            id="a chunk extension without end",
        ),
    ],
)
async def test_what_is_no_body_is_bounded(serving: Callable[..., Any], head: bytes) -> None:
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(head)
        answer = await until_closed(reader)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")  # a reset may overtake the answer
        assert server.cut("head-too-large") == 1
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /here HT", GET + b"\r\n" + b"GET /he"])
async def test_a_head_that_does_not_end_is_not_waited_for(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.1)
    async with serving() as server:
        await server.ask(sent)
        assert server.cut("head-late") == 1


async def test_a_connection_that_was_answered_is_kept_for_the_next_request(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_S", 0.1)
    async with serving() as server:
        reader, writer = await server.connect()
        writer.write(GET + b"\r\n")
        await reader.readuntil(b"\r\n\r\n0")
        await server.ask(b"GET /he")  # which is cut, so that time has passed
        writer.write(GET + b"Connection: close\r\n\r\n")
        assert b"HTTP/1.1 200" in await until_closed(reader)
        writer.close()


async def test_who_takes_nothing_of_its_answer_is_cut(
    serving: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "ANSWER_S", 0.1)
    async with serving() as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: server.cut("answer-not-taken"))


async def test_the_line_finds_its_way_through_a_crowd(serving: Callable[..., Any]) -> None:
    async with serving(most=8) as server, AsyncExitStack() as crowd:
        line, line_writer = await server.connect()
        line_writer.write(GET + b"\r\n")
        await line.readuntil(b"\r\n\r\n0")
        held, held_writer = await server.connect()
        held_writer.write(b"GET /held HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await server.at_work.wait()
        for number in range(40):
            _reader, writer = await server.connect()
            crowd.callback(writer.close)
            if number % 2:  # half of them bring the beginning of a body
                writer.write(b"POST /here HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1")
        line_writer.write(GET + b"\r\n")
        assert await line.readuntil(b"\r\n\r\n0"), "what was answered before is worth more than what says nothing"
        assert (await server.ask(GET + b"Connection: close\r\n\r\n")).endswith(b"0"), "a new one gets in"
        server.go_on.set()
        assert (await until_closed(held)).endswith(b"done"), "what is at work is never cut"
        assert server.cut("crowded") >= 32
        line_writer.close()
        held_writer.close()
