"""Peers of the exporter's benchmark, as one process: `exporter_peers.py SERIES PORT...`, one service a port.

Each serves `/metrics` of so many series; every answer has other values. A port written `!PORT` takes requests and says
nothing.
"""

import asyncio
import contextlib
import sys
from itertools import count

FAMILY = 10
"""Series of one metric."""


def text(series: int, turn: int) -> bytes:
    """Return an exposition as a service's: a label or two, ten series a metric."""
    lines = []
    for number in range(series):
        family = f"lineside_peer_{number // FAMILY}_total"
        if number % FAMILY == 0:
            lines.append(
                f"# HELP {family} Requests answered with a Result, by model and status.\n# TYPE {family} counter"
            )
        station = number % FAMILY
        lines.append(f'{family}{{model="surface-defect",station="station-{station}"}} {turn + number}.0')
    return "\n".join([*lines, ""]).encode()


async def serve(port: int, series: int, *, hangs: bool) -> None:
    """Answer for ever."""
    turns = count()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if hangs:
                    await asyncio.Event().wait()
                body = text(series, next(turns))
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


async def main(series: int, ports: list[str]) -> None:
    await asyncio.gather(*(serve(int(port.lstrip("!")), series, hangs=port.startswith("!")) for port in ports))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2:]))
