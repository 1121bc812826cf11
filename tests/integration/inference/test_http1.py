"""The HTTP client against real servers on the loopback: what it sends, where bodies lie, which connections it keeps."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.connection import Response
from lineside_inference.http1.errors import ConnectFailed, HttpError, ResponseTooLarge
from lineside_inference.http1.target import Target
from tests.support.waiting import until

BODY = bytes(range(256)) * 4096  # 1 MiB
Loop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
"""The service runs on uvloop, which receives into a body's memory by other code than asyncio."""


class Server:
    """Answers each request with the next of its answers; `None` closes the connection instead."""

    def __init__(self, answers: list[bytes | None]) -> None:
        self.answers = answers
        self.asked: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def target(self) -> Target:
        return Target.of(f"http://127.0.0.1:{self.port}/a")

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for writer in self.writers:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        while not reader.at_eof():
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, length = head.partition(b"Content-Length: ")
                body = await reader.readexactly(int(length.split(b"\r\n")[0])) if length else b""
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.asked.append(head + body)
            answer = self.answers.pop(0)
            if answer is None:
                break
            writer.write(answer)
        writer.close()


@contextlib.asynccontextmanager
async def serving(*answers: bytes | None) -> AsyncIterator[tuple[Server, HttpClient]]:
    server, client = Server(list(answers)), HttpClient()
    await server.start()
    yield server, client
    client.close()
    await server.stop()


def ok(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\nX-Kind: test\r\n\r\n" % (status, len(body)) + body


async def test_a_body_of_several_buffers_is_sent_with_its_length() -> None:
    async with serving(ok(b"done")) as (server, client):
        body = [b"head", memoryview(BODY), bytearray(b"tail")]
        response = await client.request(
            server.target, method="POST", headers=[("X-Mine", "1")], body=body, max_bytes=100
        )
        assert (response.status, response.reason, bytes(response.body)) == (200, "OK", b"done")
        assert response.header("x-kind") == "test"
        head, _, sent = server.asked[0].partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"POST /a HTTP/1.1",
            b"Host: 127.0.0.1:%d" % server.port,
            b"X-Mine: 1",
            b"Content-Length: %d" % len(sent),
        ]
        assert sent == b"head" + BODY + b"tail"


@pytest.mark.parametrize("size", [0, 1, 65_000, 1 << 20, (1 << 20) + 1, 5_000_000])
@LOOPS
def test_a_body_of_any_size_is_complete_and_its_connection_kept(loop: Loop, size: int) -> None:
    async def scene() -> None:
        body = (BODY * 5)[:size]
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n" % (size, body) * bool(size)
        async with serving(ok(body), chunked + b"0\r\n\r\n", ok(body), ok(body)) as (server, client):
            for _ in range(3):
                assert (await client.request(server.target, max_bytes=size)).body == body
            pieces: list[bytes] = []
            await client.request(server.target, max_bytes=0, sink=lambda _, piece: pieces.append(piece))
            assert b"".join(pieces) == body
            assert len(server.writers) == 1

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


async def test_a_body_larger_than_its_bound_is_refused() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + bytes(50)
    async with serving(ok(bytes(50)), ok(bytes(50)), endless, endless) as (server, client):
        for _ in range(3):
            with pytest.raises(ResponseTooLarge, match="more than 49 bytes"):
                await client.request(server.target, max_bytes=49)
        with pytest.raises(ResponseTooLarge, match="more than 20 bytes"):
            await client.request(server.target, max_bytes=20)
        assert len(server.writers) == 4


async def test_the_body_of_an_error_is_read_too() -> None:
    async with serving(ok(b"no such model", b"404 Not Found")) as (server, client):
        response = await client.request(server.target, max_bytes=100)
        assert (response.status, bytes(response.body)) == (404, b"no such model")


async def test_a_kept_connection_that_was_closed_is_replaced_once() -> None:
    async with serving(ok(b"1"), None, ok(b"2"), None, None) as (server, client):
        assert bytes((await client.request(server.target, max_bytes=9)).body) == b"1"
        assert bytes((await client.request(server.target, max_bytes=9, method="POST", body=[b"x"])).body) == b"2"
        assert server.asked[1] == server.asked[2]
        with pytest.raises(HttpError, match="before its answer"):
            await client.request(server.target, max_bytes=9)
        assert len(server.writers) == 3


async def test_a_request_whose_answer_began_is_not_sent_again() -> None:
    async with serving(ok(b"1"), ok(bytes(100))[:-50]) as (server, client):
        await client.request(server.target, max_bytes=100)
        asking = asyncio.ensure_future(client.request(server.target, max_bytes=100))
        await until(lambda: len(server.asked) == 2)
        server.writers[0].close()
        with pytest.raises(HttpError, match="after 50 bytes of its body"):
            await asking
        assert len(server.asked) == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_connection_with_bytes_behind_its_answer_is_not_used_again(*, chunked: bool) -> None:
    first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" if chunked else ok(b"1")
    async with serving(first + ok(b"not asked for"), ok(b"2")) as (server, client):
        assert bytes((await client.request(server.target, max_bytes=9)).body) == b"1"
        assert bytes((await client.request(server.target, max_bytes=9)).body) == b"2"
        assert len(server.writers) == 2


@LOOPS
def test_a_request_that_is_cancelled_closes_its_connection(loop: Loop) -> None:
    async def scene() -> None:
        async with serving(ok(BODY)[: -len(BODY) // 2]) as (server, client):
            asking = asyncio.ensure_future(client.request(server.target, max_bytes=len(BODY)))
            await until(lambda: bool(server.asked))
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(server.writers[0].is_closing)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(scene())


async def test_nobody_there_is_told_from_a_connection_that_broke() -> None:
    async with serving(None) as (server, client):
        with pytest.raises(HttpError, match="closed the connection before its answer"):
            await client.request(server.target, max_bytes=9)
        await server.stop()
        with pytest.raises(ConnectFailed, match=r"refused|Connect call failed"):
            await client.request(server.target, max_bytes=9)


async def test_what_a_sink_raises_ends_the_request() -> None:
    def refuse(_response: Response, _piece: bytes) -> None:
        raise LookupError("not this")

    async with serving(ok(b"1")) as (server, client):
        with pytest.raises(LookupError, match="not this"):
            await client.request(server.target, max_bytes=9, sink=refuse)
