"""The load on an HTTP image route: as little client as will do, so that the service is what is measured.

One raw connection a caller (asyncio streams), the request's bytes made once an image, the answer read by its
Content-Length. Every answer is checked: what is not a verdict ends the run.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

Check = Callable[[bytes], bool]


class Caller:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, url: str) -> "Caller":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port, limit=1 << 20))

    async def ask(self, request: bytes) -> bytes:
        """Send one request and return its answer's body; raises SystemExit where it is not HTTP 200."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        body = await self._reader.readexactly(length)
        if b" 200 " not in head[:16]:
            raise SystemExit(f"refused: {head[:40]!r} {body[:300]!r}")
        return body

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def post(url: str, body: bytes, content_type: str) -> bytes:
    """Return a whole HTTP request."""
    parts = urlsplit(url)
    return (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def closed_loop(
    url: str, requests: Sequence[bytes], check: Check, *, concurrency: int, seconds: float = 0.0, count: int = 0
) -> tuple[int, float]:
    """Ask from `concurrency` callers, for that many seconds or requests; return how many were answered in how long."""
    callers = [await Caller.to(url) for _ in range(concurrency)]
    answered = 0
    start = time.perf_counter()
    until = start + seconds

    async def call(caller: Caller) -> None:
        nonlocal answered
        while answered < count if count else time.perf_counter() < until:
            answered += 1
            body = await caller.ask(requests[answered % len(requests)])
            if not check(body):
                raise SystemExit(f"not a verdict: {body[:300]!r}")

    async with asyncio.TaskGroup() as calling:
        for caller in callers:
            calling.create_task(call(caller))
    took = time.perf_counter() - start
    for caller in callers:
        await caller.close()
    return answered, took


async def open_loop(ask: Callable[[int], "asyncio.Future[object]"], *, rate: float, seconds: float) -> list[float]:
    """Start a request every 1/rate seconds whatever became of the others; return ms from the intended time."""
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    start = loop.time() + 0.1

    async def one(number: int) -> None:
        intended = start + number / rate
        await asyncio.sleep(max(0.0, intended - loop.time()))
        await ask(number)
        latencies.append((loop.time() - intended) * 1000)

    async with asyncio.TaskGroup() as asking:
        for number in range(round(rate * seconds)):
            asking.create_task(one(number))
    return latencies
