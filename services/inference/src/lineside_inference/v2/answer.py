"""Triton's answer as a v2 client asked for it: JSON, or JSON and then the raw bytes of the outputs."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.tensor_buffers import TensorBuffers
from lineside_inference.engine.parameters import plain
from lineside_inference.errors import EngineFailed, OutputTooLarge
from lineside_inference.v2.datatypes import size_of, unpack
from lineside_inference.v2.infer_request import InferRequest

_MANY = 4096
_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "deflate": lambda body: zlib.compress(body, 1),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer: the parts are sent one behind the other."""

    status: int
    headers: list[tuple[bytes, bytes]]
    parts: Sequence[bytes]


def as_json(document: Any, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return a JSON answer."""
    body = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    return _answer(status, [(b"content-type", b"application/json"), *headers], [body])


def empty(status: int = 200) -> Answer:
    """Return an answer without a body."""
    return _answer(status, [], [])


async def write(response: pb.ModelInferResponse, parcel: TensorBuffers, *, max_values: int) -> Answer:
    """Return the answer; the parcel may be given back after it.

    Raises OutputNotJson, OutputNotFinite, OutputTooLarge or EngineFailed.
    """
    asked = parcel.asked
    head: dict[str, Any] = {"id": response.id} if response.id else {}
    head |= {"model_name": response.model_name, "model_version": response.model_version}
    if response.parameters:
        head["parameters"] = plain(response.parameters)
    head["outputs"] = []
    parts: list[bytes] = []
    for place, output in enumerate(response.outputs):
        described: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if any(wanted.name == output.name and wanted.region is not None for wanted in asked.outputs):
            described["parameters"] = plain(output.parameters)
        else:
            data = _data(response, place, parcel)
            if asked.wants_binary(output.name):
                described["parameters"] = {"binary_data_size": len(data)}
                parts.append(bytes(data))
            else:
                described["data"] = await _values(output, data, max_values)
        head["outputs"].append(described)
    return await _finish(asked, head, parts)


async def _finish(asked: InferRequest, head: dict[str, Any], parts: list[bytes]) -> Answer:
    if not asked.binary and not any(output.binary for output in asked.outputs):
        is_large = sum(len(output.get("data", ())) for output in head["outputs"]) > _MANY
        return await asyncio.to_thread(as_json, head) if is_large else as_json(head)
    body = as_json(head).parts[0]
    kinds = [(b"content-type", b"application/octet-stream"), (b"inference-header-content-length", b"%d" % len(body))]
    return _answer(200, kinds, [body, *parts])


async def _values(output: pb.ModelInferResponse.InferOutputTensor, data: bytes | memoryview, most: int) -> list[Any]:
    count = 1
    for length in output.shape:
        count *= length
    if count > most:
        raise OutputTooLarge(
            f"output {output.name!r} has {count} values; at most {most} are answered as JSON "
            "(inference.limits.json_values)",
            remedy="Ask for it as binary: output parameter binary_data, or request parameter binary_data_output",
        )
    if count > _MANY:
        return await asyncio.to_thread(unpack, output.name, output.datatype, data)
    return unpack(output.name, output.datatype, data)


def _data(response: pb.ModelInferResponse, place: int, parcel: TensorBuffers) -> bytes | memoryview:
    """Return an output's bytes, from the slot where Triton says that it put them there, else from the message."""
    output = response.outputs[place]
    size = size_of(output.datatype, output.shape)
    if "shared_memory_region" in output.parameters and output.name in parcel.placed and size is not None:
        at, room = parcel.placed[output.name]
        if size > room:
            raise EngineFailed(f"output {output.name!r} has {size} bytes and room for {room}")
        return parcel.memory[at : at + size]
    raw = response.raw_output_contents
    if place >= len(raw) or (size is not None and len(raw[place]) != size):
        raise EngineFailed(f"Triton's answer has not the bytes of output {output.name!r}")
    data: bytes = raw[place]
    return data


def wanted_encoding(accept: str) -> str | None:
    """Return the compression that an Accept-Encoding asks for, as Triton reads it: gzip before deflate, else none."""
    weights: dict[str, float] = {}
    for part in accept.lower().split(","):
        name, _, weight = part.partition(";")
        try:
            weights[name.strip()] = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
    wanted = max(_PACKERS, key=lambda name: weights.get(name, 0.0))
    most = weights.get(wanted, 0.0)
    return wanted if most > 0 and most >= weights.get("identity", 0.0) else None


def compressed(found: Answer, encoding: str) -> Answer:
    """Return an answer with its body compressed; lengths in its other headers are those of before."""
    body = _PACKERS[encoding](b"".join(found.parts))
    headers = [(name, value) for name, value in found.headers if name != b"content-length"]
    return _answer(found.status, [*headers, (b"content-encoding", encoding.encode())], [body])


def _answer(status: int, headers: list[tuple[bytes, bytes]], parts: Sequence[bytes]) -> Answer:
    return Answer(status, [*headers, (b"content-length", b"%d" % sum(map(len, parts)))], parts)
