"""Processes of services, and peers on real sockets that behave as a test says."""

import asyncio
import signal
import socket
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families

from lineside_bench.processes.process import clean_environment
from tests.support import waiting, warm_start
from tests.support.ports import free_port
from tests.support.waiting import HANG_S

GOOD = "# HELP peer_value What the peer has.\n# TYPE peer_value gauge\npeer_value 42\n"

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Process:
    """One service as a process, with settings of its own."""

    def __init__(self, section: str, folder: Path, document: dict[str, Any]) -> None:
        self.section = section
        self.port = document[section]["http"]["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = folder / f"{section}.yaml"
        self._settings.write_text(yaml.safe_dump(document))
        self._log = folder / f"{section}.log"
        self._process: warm_start.Started | None = None

    def start(self) -> None:
        environment = clean_environment()
        with self._log.open("ab") as log:
            self._process = warm_start.start(
                f"lineside_{self.section}", self._settings, env=environment, stdout=log, stderr=log
            )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(by)
        try:
            return self._process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(HANG_S)
            raise

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


until = partial(waiting.until, despite=(httpx.HTTPError,))
"""Wait until what an exporter says is so."""


class Scraper:
    """What Prometheus would see of an exporter."""

    def __init__(self, exporter: Process) -> None:
        self.exporter = exporter
        self.client = httpx.AsyncClient(base_url=exporter.url, trust_env=False, timeout=HANG_S)

    async def text(self) -> str:
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return answer.text

    async def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(await self.text())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    async def value(self, name: str, /, **labels: str) -> float | None:
        return (await self.samples()).get((name, frozenset(labels.items())))

    async def up(self, source: str) -> float | None:
        return await self.value("lineside_exporter_source_up", source=source, service="exporter")

    async def connection(self, name: str) -> dict[str, Any]:
        answer = await self.client.get("/readyz")
        assert answer.status_code == 200, "no source is needed to be ready"
        return next(link for link in answer.json()["connections"] if link["name"] == name)


@asynccontextmanager
async def exporting(folder: Path, **section: Any) -> AsyncIterator[Scraper]:
    """Run an exporter with this section; fast, and with nothing to read that is not named."""
    port = free_port()
    own = {"http": {"port": port}, "services": {}, "triton": None, "period_s": 0.1, "timeout_s": 1.0} | section
    process = Process("exporter", folder, {"exporter": own})
    process.start()
    scraper = Scraper(process)
    try:
        await until(scraper.text, lambda: process.log)
        yield scraper
    finally:
        await scraper.client.aclose()
        assert await asyncio.to_thread(process.end) == 0, process.log
        assert "Traceback" not in process.log


@asynccontextmanager
async def peer(behaviour: Behaviour) -> AsyncIterator[str]:
    """Listen on a port; each request is answered by the behaviour. Return the address."""
    links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await behaviour(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        links[task] = writer
        task.add_done_callback(links.pop)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task, writer in list(links.items()):
            writer.transport.abort()  # what nobody reads any more would be waited for
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)


def answers(body: bytes | str, *, status: str = "200 OK", headers: str = "", length: int | None = None) -> Behaviour:
    """Return a behaviour: one answer, then the connection ends."""
    raw = body.encode() if isinstance(body, str) else body

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = len(raw) if length is None else length
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n{headers}\r\n".encode() + raw
        )
        await writer.drain()

    return answer


class Changing:
    """A behaviour that can be changed while it serves."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.behaviour(reader, writer)


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take the request and say nothing until the asker goes away."""
    await reader.read()


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npeer_value 42\n")
    await writer.drain()
    link = writer.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset instead of an end
    writer.transport.abort()


async def trickles(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a line every now and then, and never end: each by itself is in time."""
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    number = 0
    while True:
        number += 1
        writer.write(f"peer_value_{number} 42\n".encode())
        await writer.drain()
        await asyncio.sleep(0.05)


async def floods(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:
        writer.write(b"# " + b"x" * 65536 + b"\n")
        await writer.drain()
