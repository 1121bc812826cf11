"""Closed-loop load on `/v2/models/{m}/infer` with binary tensors; the same light client for any v2 server.

    python benchmarks/v2_load.py --model wide http://127.0.0.1:8080 http://127.0.0.1:8000

Several addresses take turns, round by round, so that what else the machine does falls on all of them alike.
"""

import argparse
import asyncio
import json
import math
import statistics
import time
from urllib.parse import urlsplit

_ITEM_BYTES = {"FP32": 4, "INT32": 4, "FP16": 2, "UINT8": 1, "INT64": 8, "FP64": 8}
_WARM_UP_S = 0.5


async def run(url: str, model: str, concurrency: int, seconds: float) -> float:
    """Return the requests a second that `concurrency` connections reach, one request at a time each.

    Every input is zeros of the model's shape with 1 for each open dimension; all outputs are asked for in binary.
    Raises RuntimeError where an answer is not 200.
    """
    host, port = urlsplit(url).hostname or "127.0.0.1", urlsplit(url).port or 80
    request = await _request(host, port, model)
    links = [await asyncio.open_connection(host, port, limit=2**24) for _ in range(concurrency)]
    try:
        await asyncio.gather(*(_ask_until(time.perf_counter() + _WARM_UP_S, request, *link) for link in links))
        start = time.perf_counter()
        done = await asyncio.gather(*(_ask_until(start + seconds, request, *link) for link in links))
        return sum(done) / (time.perf_counter() - start)
    finally:
        for _reader, writer in links:
            writer.close()


async def _ask_until(end: float, request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    done = 0
    while time.perf_counter() < end:
        writer.write(request)
        await _answer(reader)
        done += 1
    return done


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if not head.startswith(b"http/1.1 200"):
        raise RuntimeError(f"answered {head!r:.300}")
    length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def _request(host: str, port: int, model: str) -> bytes:
    """Return the whole HTTP request, made once from what the server says of the model."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET /v2/models/{model} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    about = json.loads(await _answer(reader))
    writer.close()
    inputs, sizes = [], []
    for tensor in about["inputs"]:
        shape = [max(1, length) for length in tensor["shape"]]
        sizes.append(math.prod(shape) * _ITEM_BYTES[tensor["datatype"]])
        parameters = {"binary_data_size": sizes[-1]}
        inputs.append(
            {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "parameters": parameters}
        )
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        f"Host: {host}:{port}",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + sum(sizes)}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + bytes(sum(sizes))


async def compare(urls: list[str], model: str, concurrency: int, seconds: float, rounds: int) -> list[float]:
    """Return the median requests a second of each server over rounds in which they take turns."""
    reached: list[list[float]] = [[] for _ in urls]
    for _ in range(rounds):
        for url, figures in zip(urls, reached, strict=True):
            figures.append(await run(url, model, concurrency, seconds))
    return [statistics.median(figures) for figures in reached]


def main() -> None:
    """Print a line for each server and concurrency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for concurrency in given.concurrency:
        reached = asyncio.run(compare(given.urls, given.model, concurrency, given.seconds, given.rounds))
        for url, figure in zip(given.urls, reached, strict=True):
            print(
                f"{url}  concurrency {concurrency}  {figure:8.1f} requests/s  {figure / reached[-1]:5.2f} of the last"
            )


if __name__ == "__main__":
    main()
