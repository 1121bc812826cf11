"""Calls to Triton's HTTP port, which answers a small one in about half the time that its gRPC port needs.

Health, models and shared memory stay with gRPC; whatever fails here is raised as gRPC would raise it, so that one table
says what it means. A kept connection that Triton closed while it was idle is replaced, and the call made again: only
what may run twice is sent here.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import grpc
from grpc.aio import AioRpcError, Metadata

from lineside_inference.engine.message import LENGTH, Buffer, HttpReplies, InferMessage, Reply
from lineside_inference.http1.client import HttpClient
from lineside_inference.http1.connection import Response
from lineside_inference.http1.errors import HttpError, ResponseTooLarge
from lineside_inference.http1.target import Target

MAX_ANSWER_BYTES = 512 * 1024 * 1024
"""Largest body of an answer."""
_OK = 200
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.ALREADY_EXISTS,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class TritonHttp:
    """One HTTP port; as many connections as there are calls at the same time."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._target = Target.of(f"http://{url}")
        self._client = HttpClient()
        self._replies = HttpReplies()

    def infer(self, message: InferMessage) -> "asyncio.Future[Reply]":
        """Make one call; the future raises AioRpcError as the gRPC stub does. Cancelling it closes its connection."""
        return asyncio.ensure_future(self._infer(message))

    async def is_there(self, path: str, timeout_s: float) -> bool:
        """Return whether a GET is answered 200."""
        try:
            async with asyncio.timeout(timeout_s):
                return (await self._ask("GET", path)).status == _OK
        except (AioRpcError, TimeoutError):
            return False

    def close(self) -> None:
        """Close the connections that are idle."""
        self._client.close()

    async def _infer(self, message: InferMessage) -> Reply:
        path, head = message.as_http()
        response = await self._ask("POST", path, [(LENGTH, str(len(head)))], [head, *message.tensors])
        if response.status != _OK:
            raise _error(_CODES.get(response.status, grpc.StatusCode.INTERNAL), _reason(response.body))
        try:
            return self._replies.read(response.body, int(response.header(LENGTH, "0")))
        except ValueError as error:
            why = f"Triton's HTTP port answered what cannot be read: {error}"
            raise _error(grpc.StatusCode.INTERNAL, why) from None

    async def _ask(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: Sequence[Buffer] = ()
    ) -> Response:
        try:
            return await self._client.request(
                replace(self._target, path=path), method=method, headers=headers, body=body, max_bytes=MAX_ANSWER_BYTES
            )
        except ResponseTooLarge as error:
            raise _error(grpc.StatusCode.INTERNAL, f"Triton's HTTP port: {error}") from None
        except HttpError as error:
            raise _error(grpc.StatusCode.UNAVAILABLE, f"Triton's HTTP port: {error}") from None


def _reason(body: Buffer) -> str:
    try:
        return str(json.loads(bytes(body))["error"])
    except (ValueError, KeyError, TypeError):
        return bytes(body[:300]).decode("utf-8", "replace")


def _error(code: grpc.StatusCode, details: str) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details=details)
