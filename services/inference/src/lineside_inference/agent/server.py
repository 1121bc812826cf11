"""The gRPC server on the unix socket, in the service's own process and on its event loop, and its health service.

The socket appears when Triton was reached for the first time: clients that wait for its file are served at once.
"""

import grpc
import structlog

from lineside.edge_manager.protocol import SERVICE
from lineside_inference.agent.calls import Calls
from lineside_inference.agent.socket_file import SocketFile
from lineside_inference.engine.link import TritonLink
from lineside_inference.rpc.health import Health
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference.agent")

_BESIDE = 64
"""Calls beside predictions: control calls, health, and those that are being refused."""


class AgentServer:
    """Serves the calls while the service lives."""

    def __init__(
        self, message_bytes: int, limits: LimitSettings, socket_file: SocketFile, calls: Calls, link: TritonLink
    ) -> None:
        self._message_bytes = message_bytes
        self._max_calls = limits.v2_concurrency + limits.queue + _BESIDE
        self._socket_file = socket_file
        self._calls = calls
        self._link = link
        self._health = Health(("", SERVICE), link.online.is_set)
        self._server: grpc.aio.Server | None = None

    async def supervise(self) -> None:
        """Serve once Triton is there, and tell those who watch the health service of each change, for ever."""
        await self._link.online.wait()
        await self._start()
        await self._health.follow(self._link)

    async def close(self, grace_s: float) -> None:
        """Take no more calls, and end when those under way have, after `grace_s` seconds at the latest."""
        if self._server is not None:
            self._health.close()
            await self._server.stop(grace_s)
        self._socket_file.release()

    async def _start(self) -> None:
        self._server = server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", self._message_bytes),
                ("grpc.max_send_message_length", -1),
            ),
            maximum_concurrent_rpcs=self._max_calls,
        )
        server.add_generic_rpc_handlers((self._calls.handler(), self._health.handler()))
        server.add_insecure_port(self._socket_file.begin())
        await server.start()
        self._socket_file.show()
        log.info("serves Edge Manager's clients", socket=str(self._socket_file.path))
