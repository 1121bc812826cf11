"""Attacks on the inference service within all its bounds, each held up while the line asks for its verdicts.

Each attack is a context manager: what it starts is under way inside it, and over behind it.
"""

import asyncio
import gzip
import io
import json
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx

Attack = Callable[[int], AbstractAsyncContextManager[None]]
"""Given the service's port."""

PATH = "/v1/models/surface-defect/predict"
PATIENCE_S = 120.0


def wide_png(side: int = 6000, *, significant: int | None = None) -> bytes:
    """Return a PNG of side x side black pixels, 16 bits in three channels: some hundred KB that unfold to 216 MB.

    `significant` is the number of significant bits that it states.
    """
    row = bytes(1 + side * 3 * 2)
    packer, data = zlib.compressobj(9), io.BytesIO()
    for _ in range(side):
        data.write(packer.compress(row))
    data.write(packer.flush())

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
    if significant is not None:
        head += chunk(b"sBIT", bytes([significant] * 3))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data.getvalue()) + chunk(b"IEND", b"")


def filled_jpeg(jpeg: bytes, size: int = 15_000_000) -> bytes:
    """Return a JPEG with so many fill bytes before its second marker (ITU-T T.81, B.1.1.2 allows any number)."""
    return jpeg[:2] + b"\xff" * size + jpeg[2:]


def numbers(count: int) -> bytes:
    """Return a request of so many JSON numbers, none of which any model wants."""
    tensor = b'{"name":"x","datatype":"FP32","shape":[%d],"values":[%s]}' % (count, b",".join([b"1"] * count))
    source = b'{"kind":"tensors","tensors":[%s]}' % tensor
    return b'{"schema":"lineside/request/1","id":"n","model":"spindle-anomaly","source":%s}' % source


def labels(count: int) -> bytes:
    """Return a policy of so many thresholds."""
    return json.dumps({"thresholds": {f"label-{number}": 0.5 for number in range(count)}}).encode()


def declaring(size: int) -> tuple[bytes, dict[str, str]]:
    """Return a v2 request's JSON, and headers, that say that so many bytes follow."""
    tensor = {"name": "x", "datatype": "UINT8", "shape": [size], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head, {"inference-header-content-length": str(len(head))}


def unfolding(size: int) -> tuple[bytes, dict[str, str]]:
    """Return a v2 request of so many bytes, compressed."""
    head, headers = declaring(size)
    return gzip.compress(head + bytes(size), 1), headers | {"content-encoding": "gzip"}


def connections(count: int, sent: bytes) -> Attack:
    """Hold so many connections open, on each of which this was sent."""

    @asynccontextmanager
    async def attack(port: int) -> AsyncIterator[None]:
        writers = []
        try:
            for _ in range(count):
                _reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                writers.append(writer)
            yield
        finally:
            for writer in writers:
                writer.close()

    return attack


def requests(
    count: int, method: str, path: str, body: bytes, headers: dict[str, str], allowed: Sequence[int]
) -> Attack:
    """Send so many requests at once, each answered by one of the allowed statuses, and not by a fault."""

    @asynccontextmanager
    async def attack(port: int) -> AsyncIterator[None]:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, trust_env=False
        ) as client:

            async def one() -> int:
                try:
                    return (await client.request(method, path, content=body, headers=headers)).status_code
                except httpx.TransportError:
                    return 0  # refused in the middle of its body

            sending = [asyncio.create_task(one()) for _ in range(count)]
            try:
                yield
                statuses = set(await asyncio.gather(*sending))
                if strange := statuses - {0, *allowed}:
                    raise AssertionError(f"{method} {path} was answered {sorted(strange)}")
            finally:
                for task in sending:
                    task.cancel()

    return attack


async def beside(attack: AbstractAsyncContextManager[None], work: Callable[[], Awaitable[None]]) -> None:
    """Do the work while the attack is under way."""
    async with attack:
        await work()
