"""gRPC's health service: SERVING while Triton can be asked and the service is not stopping.

The servicer of grpcio-health-checking is not used: its watchers of one service share a condition that goes with the
first of them, and a watcher holds up the server's stop.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Container
from typing import Any

import grpc
from grpc_health.v1 import health_pb2 as pb

from lineside_inference.engine.link import TritonLink

_NAME = "grpc.health.v1.Health"


class Health:
    """Answers Check and Watch for these services; `is_serving` is asked at each call and after each `changed`."""

    def __init__(self, services: Container[str], is_serving: Callable[[], bool]) -> None:
        self._services = services
        self._is_serving = is_serving
        self._news = asyncio.Event()
        self._is_over = False

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what gRPC asks for each call."""
        request, answer = pb.HealthCheckRequest.FromString, pb.HealthCheckResponse.SerializeToString
        return grpc.method_handlers_generic_handler(
            _NAME,
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check, request, answer),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch, request, answer),
            },
        )

    async def follow(self, link: TritonLink) -> None:
        """Tell those who watch whenever Triton comes or goes, for ever."""
        lost = asyncio.Event()
        link.on_lost.append(lost.set)
        while True:
            lost.clear()
            await link.online.wait()
            self.changed()
            await lost.wait()
            self.changed()

    def changed(self) -> None:
        """Let those who watch look again."""
        self._news.set()
        self._news = asyncio.Event()

    def close(self) -> None:
        """Tell NOT_SERVING, and end the watches."""
        self._is_over = True
        self.changed()

    async def _check(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no service {request.service[:100]!r} here")
        return self._answer(request.service)

    async def _watch(self, request: Any, _context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        told: Any = None
        while True:
            news = self._news
            now = self._answer(request.service)
            if now != told:
                yield now
                told = now
            if self._is_over:
                return
            await news.wait()

    def _answer(self, service: str) -> Any:
        if service not in self._services:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        serves = self._is_serving() and not self._is_over
        return pb.HealthCheckResponse(
            status=pb.HealthCheckResponse.SERVING if serves else pb.HealthCheckResponse.NOT_SERVING
        )
