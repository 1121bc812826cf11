"""Triton's answer as a v2 client asked for it: JSON, or JSON and then the raw bytes of the outputs."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from tritonclient.grpc import service_pb2 as pb

from lineside_inference.dataplane.datatypes import unpack
from lineside_inference.dataplane.infer_request import InferRequest
from lineside_inference.engine.parameters import plain
from lineside_inference.errors import OutputTooLarge
from lineside_inference.usecases.direct import DirectResult

_MANY = 4096
_PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "deflate": lambda body: zlib.compress(body, 1),
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer: the parts are sent one behind the other."""

    status: int
    headers: list[tuple[bytes, bytes]]
    parts: Sequence[bytes | memoryview]


def as_json(document: Any, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> HttpAnswer:
    """Return a JSON answer."""
    body = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    return _answer(status, [(b"content-type", b"application/json"), *headers], [body])


def empty(status: int = 200) -> HttpAnswer:
    """Return an answer without a body."""
    return _answer(status, [], [])


class AnswerWriter:
    """Writes answers; what comes before the tensors' bytes is written once for the same request and the same reply."""

    def __init__(self, max_values: int) -> None:
        """Make it; `max_values` are the most that are written as JSON."""
        self._max_values = max_values
        self._kept: WeakKeyDictionary[InferRequest, tuple[pb.ModelInferResponse, HttpAnswer]] = WeakKeyDictionary()

    async def write(self, request: InferRequest, result: DirectResult) -> HttpAnswer:
        """Return the answer to a request; its parts may lie where the result's bytes do.

        Raises OutputNotJson, OutputNotFinite or OutputTooLarge.
        """
        kept = self._kept.get(request)
        if kept is not None and kept[0] is result.head:
            known = kept[1]
            return HttpAnswer(
                known.status, known.headers, [*known.parts, *(data for data in result.data if data is not None)]
            )
        answered = result.head
        head: dict[str, Any] = {"id": answered.id} if answered.id else {}
        head |= {"model_name": answered.model_name, "model_version": answered.model_version}
        if answered.parameters:
            head["parameters"] = plain(answered.parameters)
        head["outputs"] = []
        parts: list[bytes | memoryview] = []
        is_kept = True
        for output, data in zip(answered.outputs, result.data, strict=True):
            described: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
            if data is not None and request.wants_binary(output.name):
                described["parameters"] = {"binary_data_size": len(data)}
                parts.append(data)
            elif data is not None:
                described["data"] = await _values(output, data, self._max_values)
                is_kept = False
            head["outputs"].append(described)
        found = await _finish(request, head, parts)
        if is_kept:
            self._kept[request] = answered, HttpAnswer(found.status, found.headers, found.parts[:1])
        return found


async def _finish(request: InferRequest, head: dict[str, Any], parts: list[bytes | memoryview]) -> HttpAnswer:
    if not request.binary and not any(output.binary for output in request.outputs):
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


def detached(found: HttpAnswer) -> HttpAnswer:
    """Return an answer that does not lie in a slot."""
    return replace(found, parts=[bytes(part) for part in found.parts])


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


def compressed(found: HttpAnswer, encoding: str) -> HttpAnswer:
    """Return an answer with its body compressed; lengths in its other headers are those of before."""
    body = _PACKERS[encoding](b"".join(found.parts))
    headers = [(name, value) for name, value in found.headers if name != b"content-length"]
    return _answer(found.status, [*headers, (b"content-encoding", encoding.encode())], [body])


def _answer(status: int, headers: list[tuple[bytes, bytes]], parts: Sequence[bytes | memoryview]) -> HttpAnswer:
    return HttpAnswer(status, [*headers, (b"content-length", b"%d" % sum(map(len, parts)))], parts)
