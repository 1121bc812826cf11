"""Closed-loop load on `/v2/models/{m}/infer`, in binary or by shared memory; the same light client for any server.

    python benchmarks/v2_load.py --model wide http://127.0.0.1:8080 http://127.0.0.1:8000

Several addresses take turns, round by round, so that what else the machine does falls on all of them alike.
"""

import argparse
import asyncio
import json
import math
import os
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

_ITEM_BYTES = {"FP32": 4, "INT32": 4, "FP16": 2, "UINT8": 1, "INT64": 8, "FP64": 8}
_WARM_UP_S = 0.5
PREFIX = "v2-load-"
"""Of the names and keys of shared memory."""


async def run(url: str, model: str, concurrency: int, seconds: float, *, shared: bool = False) -> float:
    """Return the requests a second that `concurrency` connections reach, one request at a time each.

    Every input is zeros of the model's shape with 1 for each open dimension; all outputs are asked for in binary. With
    `shared` all tensors lie in system shared memory, in regions of each connection's own whose keys begin `PREFIX`.
    Raises RuntimeError where an answer is not 200.
    """
    host, port = urlsplit(url).hostname or "127.0.0.1", urlsplit(url).port or 80
    about = json.loads(await _once(host, port, "GET", f"/v2/models/{model}"))
    links = [await asyncio.open_connection(host, port, limit=2**24) for _ in range(concurrency)]
    with ExitStack() as regions:
        if shared:
            requests = [await _shared(host, port, model, about, str(index), regions) for index in range(concurrency)]
        else:
            requests = [_binary(host, port, model, about)] * concurrency
        callers = list(zip(requests, links, strict=True))
        try:
            until = time.perf_counter() + _WARM_UP_S
            await asyncio.gather(*(_ask_until(until, request, *link) for request, link in callers))
            start = time.perf_counter()
            done = await asyncio.gather(*(_ask_until(start + seconds, request, *link) for request, link in callers))
            return sum(done) / (time.perf_counter() - start)
        finally:
            for _reader, writer in links:
                writer.close()
            if shared:
                for index in range(concurrency):
                    await _once(host, port, "POST", f"/v2/systemsharedmemory/region/{PREFIX}{index}/unregister")


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


async def _once(host: str, port: int, method: str, path: str, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        return await _answer(reader)
    finally:
        writer.close()


def _tensor(told: dict, parameters: Callable[[int], dict]) -> dict:
    """Return a tensor of a request; `parameters` are made from its size in bytes."""
    shape = [max(1, length) for length in told["shape"]]
    size = math.prod(shape) * _ITEM_BYTES[told["datatype"]]
    return {"name": told["name"], "shape": shape, "datatype": told["datatype"], "parameters": parameters(size)}


def _binary(host: str, port: int, model: str, about: dict) -> bytes:
    """Return the whole HTTP request with its tensors, from what the server says of the model."""
    inputs = [_tensor(told, lambda size: {"binary_data_size": size}) for told in about["inputs"]]
    size = sum(tensor["parameters"]["binary_data_size"] for tensor in inputs)
    return _request(host, port, model, {"inputs": inputs, "parameters": {"binary_data_output": True}}, size)


async def _shared(host: str, port: int, model: str, about: dict, index: str, regions: ExitStack) -> bytes:
    """Return the whole HTTP request with all tensors in a region that is registered; `regions` removes its file."""
    end = 0

    def place(size: int) -> dict:
        nonlocal end
        told = {"shared_memory_region": PREFIX + index, "shared_memory_offset": end, "shared_memory_byte_size": size}
        end += -(-size // 64) * 64
        return told

    inputs = [_tensor(told, place) for told in about["inputs"]]
    outputs = [{"name": told["name"], "parameters": _tensor(told, place)["parameters"]} for told in about["outputs"]]
    key = f"{PREFIX}{os.getpid()}-{port}-{index}"
    file = Path("/dev/shm") / key  # noqa: S108 - where shm_open finds it
    file.write_bytes(bytes(end))
    regions.callback(file.unlink)
    registered = {"key": f"/{key}", "offset": 0, "byte_size": end}
    path = f"/v2/systemsharedmemory/region/{PREFIX}{index}/register"
    await _once(host, port, "POST", path, json.dumps(registered).encode())
    return _request(host, port, model, {"inputs": inputs, "outputs": outputs}, 0)


def _request(host: str, port: int, model: str, document: dict, size: int) -> bytes:
    head = json.dumps(document).encode()
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        f"Host: {host}:{port}",
        "Content-Type: application/octet-stream",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + size}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + head + bytes(size)


async def compare(
    urls: list[str], model: str, concurrency: int, seconds: float, rounds: int, *, shared: bool
) -> list[float]:
    """Return the median requests a second of each server over rounds in which they take turns."""
    reached: list[list[float]] = [[] for _ in urls]
    for _ in range(rounds):
        for url, figures in zip(urls, reached, strict=True):
            figures.append(await run(url, model, concurrency, seconds, shared=shared))
    return [statistics.median(figures) for figures in reached]


def main() -> None:
    """Print a line for each server and concurrency."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--model", required=True)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shared", action="store_true", help=f"tensors in shared memory, keys begin {PREFIX}")
    given = parser.parse_args()
    for concurrency in given.concurrency:
        reached = asyncio.run(
            compare(given.urls, given.model, concurrency, given.seconds, given.rounds, shared=given.shared)
        )
        for url, figure in zip(given.urls, reached, strict=True):
            print(
                f"{url}  concurrency {concurrency}  {figure:8.1f} requests/s  {figure / reached[-1]:5.2f} of the last"
            )


if __name__ == "__main__":
    main()
