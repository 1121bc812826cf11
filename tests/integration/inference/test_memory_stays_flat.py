"""Twenty thousand bad requests of every kind: none gets a 5xx, and memory is what it was."""

import asyncio
import itertools
import json
from collections.abc import Callable
from typing import Any

REQUESTS = 20_000
WARM = 4_000
CALLERS = 4
MAX_GROWN_KIB = 4_000


def whole(line: str, body: bytes = b"", **headers: str) -> bytes:
    given = {"Host": "localhost", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def bad(part: bytes) -> list[bytes]:
    """Return requests that are wrong, each in a way of its own."""
    ids = (f"bad-{number}" for number in itertools.count())  # only the last is remembered: each runs every time

    def infer(**fields: Any) -> bytes:
        body = {"schema": "lineside/request/1", "id": next(ids), "model": "surface-defect"} | fields
        return whole("POST /v1/infer", json.dumps(body).encode(), Content_Type="application/json")

    v2 = {"inputs": [{"name": "image", "shape": [1, 3, 160, 160], "datatype": "FP32"}]}
    lying = json.dumps(v2 | {"parameters": {"binary_data_size": 9}}).encode()
    return [
        whole("POST /v1/infer", b"no json" * 500),
        whole("POST /v1/infer", b"[" * 3000),
        infer(model="nobody", source={"kind": "camera", "camera": "c"}),
        infer(source={"kind": "file", "path": "../x"}, context={"note": "x" * 2000}),
        infer(source={"kind": "inline", "content_type": "image/jpeg", "data": "AAAA"}),
        infer(source={"kind": "tensors", "tensors": [{"name": "x", "datatype": "FP32", "shape": [1], "values": [1]}]}),
        whole("POST /v1/models/surface-defect/predict", part[:2000], Content_Type="image/jpeg"),
        whole("POST /v1/models/surface-defect/predict", b"x" * 5000),
        whole("POST /v2/models/surface-defect/infer", lying, Inference_Header_Content_Length="999999"),
        whole("POST /v2/models/surface-defect/infer", lying, Inference_Header_Content_Length=str(len(lying))),
        whole("POST /v2/models/surface-defect/infer", b"\x1f\x8b" + bytes(400), Content_Encoding="gzip"),
        whole("POST /v2/models/nobody/infer", lying),
        whole("PUT /v1/policy", b'{"treshold": 1}', Content_Type="application/json"),
        whole("GET /v1/parts?limit=-1"),
        whole("GET /v1/nothing"),
        whole("DELETE /v1/infer"),
        whole("POST /v1/infer", b"{}", Origin="http://evil.example"),
    ]


async def send(port: int, requests: list[bytes], count: int) -> set[int]:
    """Send so many, in turn, from a few kept connections; return the statuses."""
    seen: set[int] = set()

    async def call(first: int) -> None:
        reader = writer = None
        for number in range(first, count, CALLERS):
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(requests[number % len(requests)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]))
            seen.add(int(head.split()[1]))
            if b"connection: close" in head:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    async with asyncio.timeout(150), asyncio.TaskGroup() as calling:
        for first in range(CALLERS):
            calling.create_task(call(first))
    return seen


async def test_memory_is_flat_over_twenty_thousand_bad_requests(
    start_inference: Callable[..., Any], triton_server: Any, part_jpeg: bytes
) -> None:
    service = start_inference(triton={"url": triton_server.grpc}, limits={"remembered": 1})
    requests = bad(part_jpeg)
    assert max(await send(service.port, requests, WARM)) < 500
    before = service.resident_kib()
    assert max(await send(service.port, requests, REQUESTS)) < 500
    grown = service.resident_kib() - before
    assert grown < MAX_GROWN_KIB, f"{grown} KiB more"
    assert service.process.poll() is None
    assert "Traceback" not in service.log.read_text()
