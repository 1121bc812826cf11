"""Triton's HTTP port as our client sees it: kept connections that went stale, answers without end, calls given up."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import grpc
import pytest
from grpc.aio import AioRpcError
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine import http
from lineside_inference.engine.http import TritonHttp
from lineside_inference.engine.message import InferMessage

HEAD = b'{"model_name":"m","model_version":"1","outputs":[{"name":"y","datatype":"UINT8","shape":[3],'
BODY = HEAD + b'"parameters":{"binary_data_size":3}}]}abc'
FIELDS = b"Content-Length: %d\r\nInference-Header-Content-Length: %d\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + FIELDS % (len(BODY), len(BODY) - 3) + BODY
Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def message() -> InferMessage:
    return InferMessage(pb.ModelInferRequest(model_name="m"), [b"12", memoryview(b"3")])


@asynccontextmanager
async def triton(peer: Peer) -> AsyncIterator[TritonHttp]:
    begun, ended = 0, asyncio.Semaphore(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        with suppress(asyncio.IncompleteReadError, ConnectionResetError):
            await peer(reader, writer)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()
        ended.release()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = TritonHttp(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield client
    finally:
        client.close()
        server.close()
        for _ in range(begun):
            await ended.acquire()


async def request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return head + await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))


async def test_one_connection_serves_call_after_call() -> None:
    asked: list[bytes] = []
    connections = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while not reader.at_eof():
            asked.append(await request(reader))
            writer.write(OK)

    async with triton(peer) as client:
        replies = [await client.infer(message()) for _ in range(3)]
    assert connections == 1
    assert [bytes(reply.raw[0]) for reply in replies] == [b"abc"] * 3
    assert replies[0].head is replies[1].head  # read once
    assert asked[0].endswith(b"123")


async def test_a_kept_connection_that_was_closed_is_replaced_and_a_lost_answer_is_not_asked_for_again() -> None:
    answers = iter([OK, b"", OK, OK[:30]])

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            answer = next(answers)
            writer.write(answer)
            if answer is not OK:
                return

    async with triton(peer) as client:
        await client.infer(message())
        await client.infer(message())  # the kept connection was closed without a word
        with pytest.raises(AioRpcError) as caught:  # something of it came
            await client.infer(message())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert next(answers, None) is None


async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + bytes(2000))
        with suppress(ConnectionResetError):
            await reader.read()  # it closes

    async with triton(peer) as client:
        with pytest.raises(AioRpcError, match="1000 bytes"):
            await client.infer(message())


async def test_a_call_that_is_given_up_closes_its_connection() -> None:
    closed, came = asyncio.Event(), asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await request(reader)
        came.set()
        with suppress(ConnectionResetError):
            await reader.read()
        closed.set()

    async with triton(peer) as client:
        await client.infer(message())
        call = client.infer(message())
        await came.wait()
        call.cancel()
        await closed.wait()


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b'HTTP/1.1 400 x\r\nContent-Length: 15\r\n\r\n{"error":"odd"}', grpc.StatusCode.INVALID_ARGUMENT, "odd"),
        (b"HTTP/1.1 503 x\r\nContent-Length: 4\r\n\r\naway", grpc.StatusCode.UNAVAILABLE, "away"),
        (b"HTTP/1.1 200 x\r\nContent-Length: 2\r\n\r\n{}", grpc.StatusCode.INTERNAL, "cannot be read"),
        (b"nonsense\r\n\r\n", grpc.StatusCode.UNAVAILABLE, "no HTTP"),
    ],
)
async def test_what_is_no_answer_is_an_error_as_of_grpc(answer: bytes, code: grpc.StatusCode, words: str) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)

    async with triton(peer) as client:
        with pytest.raises(AioRpcError) as caught:
            await client.infer(message())
    assert caught.value.code() is code
    assert words in caught.value.details()
