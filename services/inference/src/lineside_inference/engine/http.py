"""Inference calls over Triton's HTTP port: the message that gRPC takes, said in the binary form of the v2 protocol.

Triton answers a small call there in about half the time that its gRPC port needs. Everything else (health, models,
shared memory) stays with gRPC, and whatever fails here is raised as gRPC would raise it, so that callers need not know.
"""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import grpc
import httptools
from grpc.aio import AioRpcError, Metadata
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.parameters import plain, put

_MAX_IDLE = 64
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_LENGTH = b"inference-header-content-length"


class TritonHttp:
    """Kept connections to one HTTP port; as many as there are calls at the same time."""

    def __init__(self, url: str) -> None:
        self._host, _, port = url.rpartition(":")
        self._port = int(port)
        self._idle: list[_Wire] = []
        self._all: set[_Wire] = set()

    async def infer(self, message: pb.ModelInferRequest, timeout: float | None = None) -> pb.ModelInferResponse:  # noqa: ASYNC109 - the stub's own signature
        """Make one call; raises AioRpcError as the gRPC stub does. A call that is cancelled closes its connection."""
        try:
            async with asyncio.timeout(timeout):
                wire = await self._wire()
                try:
                    status, length, body = await wire.ask(_request(message, f"{self._host}:{self._port}"))
                except BaseException:
                    wire.close()
                    raise
        except TimeoutError:
            raise _error(grpc.StatusCode.DEADLINE_EXCEEDED, "Triton's HTTP port did not answer in time") from None
        except (OSError, httptools.HttpParserError) as error:
            raise _error(grpc.StatusCode.UNAVAILABLE, f"Triton's HTTP port: {error}") from None
        if wire.is_open and len(self._idle) < _MAX_IDLE:
            self._idle.append(wire)
        else:
            wire.close()
        if status != 200:  # noqa: PLR2004 - HTTP's OK
            raise _error(_CODES.get(status, grpc.StatusCode.INTERNAL), _reason(body))
        return _response(body, length)

    def close(self) -> None:
        """Close every connection; calls under way fail."""
        for wire in list(self._all):
            wire.close()

    async def _wire(self) -> "_Wire":
        while self._idle:
            wire = self._idle.pop()
            if wire.is_open:
                return wire
        loop = asyncio.get_running_loop()
        _transport, wire = await loop.create_connection(lambda: _Wire(self._all), self._host, self._port)
        return wire


class _Wire(asyncio.Protocol):
    """One connection; one call at a time."""

    def __init__(self, known: "set[_Wire]") -> None:
        self._known = known
        self._transport: Any = None
        self._answer: asyncio.Future[tuple[int, int, bytes]] | None = None
        self._reset()

    @property
    def is_open(self) -> bool:
        """Whether a call can be made."""
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: list[bytes]) -> "asyncio.Future[tuple[int, int, bytes]]":
        """Send a request; the future has status, length of the JSON (0: all of it) and body."""
        self._answer = asyncio.get_running_loop().create_future()
        self._reset()
        self._transport.writelines(request)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._known.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._known.discard(self)
        self._end(exc if isinstance(exc, OSError) else ConnectionResetError("the connection was closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == _LENGTH:
            self._json_bytes = int(value)

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), self._json_bytes, b"".join(self._parts)))

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._json_bytes = 0

    def _end(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


def _request(message: pb.ModelInferRequest, host: str) -> list[bytes]:
    """Return the HTTP request, in parts that are sent one behind the other."""
    raw = iter(message.raw_input_contents)
    parts: list[bytes] = []
    inputs = []
    for tensor in message.inputs:
        parameters = plain(tensor.parameters)
        if "shared_memory_region" not in parameters:
            parts.append(next(raw, b""))
            parameters["binary_data_size"] = len(parts[-1])
        inputs.append(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": parameters,
            }
        )
    document: dict[str, Any] = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    if message.id:
        document["id"] = message.id
    document["parameters"] |= plain(message.parameters)
    if message.outputs:
        document["outputs"] = [_output(output) for output in message.outputs]
    head = json.dumps(document).encode()
    version = f"/versions/{message.model_version}" if message.model_version else ""
    lines = (
        f"POST /v2/models/{quote(message.model_name, safe='')}{version}/infer HTTP/1.1",
        f"Host: {host}",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(head) + sum(map(len, parts))}",
        "\r\n",
    )
    return ["\r\n".join(lines).encode() + head, *parts]


def _output(output: Any) -> dict[str, Any]:
    parameters = plain(output.parameters)
    if "shared_memory_region" not in parameters:
        parameters["binary_data"] = True
    return {"name": output.name, "parameters": parameters}


def _response(body: bytes, length: int) -> pb.ModelInferResponse:
    try:
        document = json.loads(body[: length or len(body)])
        response = pb.ModelInferResponse(
            model_name=document["model_name"], model_version=document["model_version"], id=document.get("id", "")
        )
        put(response.parameters, document.get("parameters", {}))
        at = length
        for output in document["outputs"]:
            added = response.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
            parameters = output.get("parameters", {})
            size = parameters.pop("binary_data_size", 0)
            put(added.parameters, parameters)
            response.raw_output_contents.append(body[at : at + size])
            at += size
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _error(grpc.StatusCode.INTERNAL, f"Triton's HTTP port answered what cannot be read: {error!r}") from None
    return response


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:300].decode("utf-8", "replace")


def _error(code: grpc.StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)
