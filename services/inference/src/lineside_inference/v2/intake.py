"""A v2 request's body: the JSON first, bounded, then every chunk copied once to where its tensor lies."""

import asyncio
import math
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic_core import from_json
from starlette.types import Receive, Scope

from lineside.buffered_http import DIRECT_BODY, DirectBody
from lineside_inference.api.body import check_values
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Body
from lineside_inference.dataplane.datatypes import BYTES, check_strings, pack
from lineside_inference.dataplane.infer_request import InferRequest, Input
from lineside_inference.dataplane.tensor_buffers import SlotBudget, TensorBuffers
from lineside_inference.dataplane.workers import Workers
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.settings import LimitSettings
from lineside_inference.v2.raw import Raw
from lineside_inference.v2.request_json import read, wrong

HEADER_LENGTH = "inference-header-content-length"
_PIECE = 256 * 1024
_WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
_SMALL = 4096
_MANY_STRINGS = 1024
_CLOSE = {"Connection": "close"}


_MAX_KEPT = 256


class ClientGone(Exception):
    """The client went away before its body was complete."""


class Intake:
    """Reads the bodies of inference requests; a head of names and sizes only that comes again is not read again."""

    def __init__(self, limits: LimitSettings, workers: Workers, memory: ClientMemory) -> None:
        self._limits = limits
        self._workers = workers
        self._memory = memory
        self._kept: dict[tuple[bytes, bool], InferRequest] = {}
        self._kept_for = memory.version

    async def take(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], budget: SlotBudget | None, body: Body
    ) -> TensorBuffers:
        """Return the request with its tensors where Triton will read them; give it back with `release`.

        What is not in a slot counts in `body`. Raises Problem 400, 403, 408, 413 or 415, Refused where there is no
        memory, the errors of `datatypes`, and ClientGone.
        """
        limits = self._limits
        chunks = _plain(_Wire(receive, headers, limits), headers, limits, self._workers)
        buffers: TensorBuffers | None = None
        try:
            async with asyncio.timeout(limits.body_s):
                head, rest = await _head(chunks, headers, limits, body)
                request = await self._read(head, is_binary=rest is not None)
                ready = [await _packed(given, len(head), self._workers) for given in request.inputs]
                sizes = [
                    len(data) if data is not None else given.size or 0
                    for given, data in zip(request.inputs, ready, strict=True)
                ]
                buffers = TensorBuffers(request, sizes, budget)
                if not await _fill_directly(scope, headers, buffers, ready, rest):
                    expected = sum(given.size or 0 for given in request.inputs)
                    await _fill(buffers, ready, _Binary(rest, chunks, expected), body)
                await check_bytes(buffers)
        except TimeoutError:
            _drop(buffers)
            raise _late(limits) from None
        except BaseException:
            _drop(buffers)
            raise
        return buffers

    async def _read(self, head: bytes | bytearray, *, is_binary: bool) -> InferRequest:
        if self._kept_for != self._memory.version:
            self._kept.clear()
            self._kept_for = self._memory.version
        key = (bytes(head) if len(head) <= _SMALL else b"", is_binary)
        known = self._kept.get(key)
        if known is not None:
            return known
        check_values(head, self._limits.json_body_values)
        reading = partial(read, head, self._limits, binary=is_binary, regions=self._memory.find)
        request = await self._workers.read(len(head), reading)
        # Whoever gives an id gives another one each time.
        is_the_same_again = not request.id and all(given.data is None for given in request.inputs)
        if key[0] and is_the_same_again and self._kept_for == self._memory.version:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = request
        return request


async def take_raw(
    receive: Receive, headers: Mapping[str, str], limits: LimitSettings, body: Body, workers: Workers, raw: Raw
) -> TensorBuffers:
    """Return the request whose whole body is the one input of a model; raises as `take` does, and TensorShape."""
    whole = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in _plain(_Wire(receive, headers, limits), headers, limits, workers):
                body.grow(len(chunk))
                whole += chunk
    except TimeoutError:
        raise _late(limits) from None
    given = raw.input(whole)
    buffers = TensorBuffers(InferRequest("", {}, (given,), (), binary=True), [given.size or 0], None)
    buffers.write(0, raw.bytes(whole))
    return buffers


def _late(limits: LimitSettings) -> Problem:
    detail = f"The body did not end within {limits.body_s:g} s (inference.limits.body_s)."
    return Problem(408, "body-timeout", detail, headers=_CLOSE)


def _drop(buffers: TensorBuffers | None) -> None:
    if buffers is not None:
        buffers.release()


async def small_json(receive: Receive) -> dict[str, Any]:
    """Return a small JSON object, an empty one where there is no body; raises Problem 400 and ClientGone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > _SMALL:
            raise wrong(f"the body has more than {_SMALL} bytes")
        if not message.get("more_body", False):
            break
    try:
        given = from_json(bytes(body)) if body.strip() else {}
    except ValueError as error:
        raise wrong(f"the request is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise wrong("the request is not a JSON object")
    return given


async def ready_only(receive: Receive) -> bool:
    """Return the field `ready` of a small JSON body, False where there is none; raises Problem 400 and ClientGone."""
    ready = (await small_json(receive)).get("ready", False)
    if not isinstance(ready, bool):
        raise wrong("the request must be an object whose field ready is true or false")
    return ready


class _Wire:
    """The body as it comes; no generator, for one that is left before its end costs a task to close it."""

    def __init__(self, receive: Receive, headers: Mapping[str, str], limits: LimitSettings) -> None:
        declared = headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > limits.body_bytes:
            raise _too_large(int(declared[:19]), limits.body_bytes, "body_bytes")
        self._receive = receive
        self._most = limits.body_bytes
        self._size = 0
        self._is_over = False

    def __aiter__(self) -> "_Wire":
        return self

    async def __anext__(self) -> bytes:
        while not self._is_over:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            self._is_over = not message.get("more_body", False)
            self._size += len(chunk)
            if self._size > self._most:
                raise _too_large(self._size, self._most, "body_bytes")
            if chunk:
                return chunk
        raise StopAsyncIteration


def _plain(
    chunks: AsyncIterator[bytes], headers: Mapping[str, str], limits: LimitSettings, workers: Workers
) -> AsyncIterator[bytes]:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return chunks
    if encoding not in _WINDOW_BITS:
        detail = f"Content-Encoding {encoding!r:.60} is not supported; use gzip, deflate or none"
        raise Problem(415, "encoding-unsupported", detail)
    return _unpacked(chunks, encoding, limits.unpacked_bytes, workers)


async def _unpacked(chunks: AsyncIterator[bytes], encoding: str, most: int, workers: Workers) -> AsyncIterator[bytes]:
    """Yield what a compressed body holds, in pieces of a bounded size; from the second on they are made in a thread."""
    unpacker, size = zlib.decompressobj(_WINDOW_BITS[encoding]), 0
    async for chunk in chunks:
        left = chunk
        while left:
            if unpacker.eof:
                raise Problem(400, "encoding-invalid", f"The body goes on behind the end of its {encoding} data")
            try:
                piece = await workers.aside(size, unpacker.decompress, left, _PIECE)
            except zlib.error as error:
                raise Problem(400, "encoding-invalid", f"The body is not {encoding}: {error}") from None
            left = unpacker.unconsumed_tail or unpacker.unused_data
            size += len(piece)
            if size > most:
                raise _too_large(size, most, "unpacked_bytes")
            if piece:
                yield piece
                await asyncio.sleep(0)
    while not unpacker.eof:  # what it holds back once the last byte is in
        piece = unpacker.decompress(unpacker.unconsumed_tail, _PIECE)
        size += len(piece)
        if not piece:
            raise Problem(400, "encoding-invalid", f"The body ends before its {encoding} data does")
        if size > most:
            raise _too_large(size, most, "unpacked_bytes")
        yield piece


async def _head(
    chunks: AsyncIterator[bytes], headers: Mapping[str, str], limits: LimitSettings, body: Body
) -> tuple[bytes | bytearray, memoryview | None]:
    """Return the JSON and the first bytes behind it; None for these where all of the body is JSON."""
    declared = headers.get(HEADER_LENGTH)
    if declared is None:
        whole = bytearray()
        async for chunk in chunks:
            whole += chunk
            if len(whole) > limits.json_bytes:
                raise _too_large(len(whole), limits.json_bytes, "json_bytes")
            body.grow(len(chunk))
        return whole, None
    if not (declared.isascii() and declared.isdigit() and int(declared[:19]) > 0):
        raise wrong(f"Inference-Header-Content-Length is {declared!r:.60}; it must be a whole number above 0")
    length = int(declared[:19])
    if length > limits.json_bytes:
        raise _too_large(length, limits.json_bytes, "json_bytes")
    head: bytes | bytearray = b""
    async for chunk in chunks:
        before = len(head)
        body.grow(min(len(chunk), length - before))
        if not before and len(chunk) >= length:  # as nearly always: nothing of the tensors is copied here
            return chunk[:length], memoryview(chunk)[length:]
        head = bytearray(head) if not before else head
        head += memoryview(chunk)[: length - before]
        if len(head) == length:
            return head, memoryview(chunk)[length - before :]
    raise wrong(f"Inference-Header-Content-Length is {length}, and the body has {len(head)} bytes")


async def _packed(given: Input, size: int, workers: Workers) -> bytes | None:
    """Return the bytes of an input whose values stand in the JSON, of `size` bytes."""
    if given.data is None:
        return None
    return await workers.read(size, pack, given.name, given.datatype, given.shape, given.data)


class _Binary:
    """The binary part as it comes: `expected` bytes, of which the first stood behind the JSON."""

    def __init__(self, first: memoryview | None, chunks: AsyncIterator[bytes], expected: int) -> None:
        self._waiting = memoryview(b"") if first is None else first
        self._chunks = chunks
        self._came = 0
        self._expected = expected

    async def pieces(self, size: int) -> AsyncIterator[memoryview]:
        """Yield the next so many bytes; raises Problem 400 where the body ends before."""
        while size:
            if not len(self._waiting) and not await self._more():
                raise wrong(f"the binary part has {self._came} bytes; {self._sum()}")
            piece, self._waiting = self._waiting[:size], self._waiting[size:]
            self._came += len(piece)
            size -= len(piece)
            yield piece

    async def end(self) -> None:
        """Raise Problem 400 where the body goes on."""
        if len(self._waiting) or await self._more():
            raise wrong(f"the binary part has {self._came + len(self._waiting)} bytes or more; {self._sum()}")

    async def _more(self) -> bool:
        async for chunk in self._chunks:
            self._waiting = memoryview(chunk)
            return True
        return False

    def _sum(self) -> str:
        return f"the inputs' binary_data_size sum to {self._expected}"


async def _fill_directly(
    scope: Scope,
    headers: Mapping[str, str],
    buffers: TensorBuffers,
    ready: Sequence[bytes | None],
    rest: memoryview | None,
) -> bool:
    """Let a large binary part be read straight into the slot; return whether it was, whole and nothing behind it.

    `rest` are its first bytes, which came with the JSON. Raises ClientGone.
    """
    direct: DirectBody | None = scope.get("extensions", {}).get(DIRECT_BODY)
    if direct is None or rest is None or buffers.slot is None or any(data is not None for data in ready):
        return False
    left = direct.left(scope)
    if "content-encoding" in headers or not left or left + len(rest) != sum(size for _at, size in buffers.spans):
        return False
    parts = []
    for at, size in buffers.spans:
        memory, first = buffers.memory[at : at + size], rest[:size]
        memory[: len(first)] = first
        rest = rest[len(first) :]
        parts.append(memory[len(first) :])
    try:
        await direct.read_rest(parts)
    except ConnectionResetError:
        raise ClientGone from None
    return True


async def _fill(buffers: TensorBuffers, ready: Sequence[bytes | None], binary: _Binary, body: Body) -> None:
    """Write the tensors to their places: those of the JSON, and the binary ones, which come one behind the other."""

    def write(at: int, data: bytes | memoryview) -> None:
        if buffers.slot is None:
            body.grow(len(data))
        buffers.write(at, data)

    for given, (at, size), data in zip(buffers.request.inputs, buffers.spans, ready, strict=True):
        if data is not None:
            write(at, data)
        elif given.size is not None:
            done = at
            async for piece in binary.pieces(size):
                write(done, piece)
                done += len(piece)
    await binary.end()


async def check_bytes(buffers: TensorBuffers) -> None:
    """Raise TensorValues where a binary input of BYTES is not the elements that its shape says."""
    for given, (at, size) in zip(buffers.request.inputs, buffers.spans, strict=True):
        if given.datatype == BYTES and given.size is not None:
            job = (given.name, buffers.memory[at : at + size], math.prod(given.shape))
            await asyncio.to_thread(check_strings, *job) if job[2] > _MANY_STRINGS else check_strings(*job)


def _too_large(size: int, most: int, setting: str) -> Problem:
    detail = f"The body has {size} bytes or more; at most {most} are allowed (inference.limits.{setting})."
    return Problem(413, "body-too-large", detail, headers=_CLOSE)
