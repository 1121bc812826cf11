"""The gRPC server of the Open Inference Protocol, in the service's own process and on its event loop."""

import grpc
import structlog

import lineside.service
from lineside.errors import LinesideError
from lineside.service import Service
from lineside.settings import HttpSettings, variable
from lineside_inference.api.tokens import TokenFile
from lineside_inference.engine.link import TritonLink
from lineside_inference.grpc_v2.access import Access
from lineside_inference.grpc_v2.calls import SERVICE, Calls
from lineside_inference.rpc.health import Health
from lineside_inference.settings import InferenceSettings
from lineside_inference.usecases.metrics import Metrics

log = structlog.get_logger("lineside.inference.grpc_v2")

_BESIDE = 64
"""Calls beside inference: those about models, health, streams at rest, and those that are being refused."""
_ONLY_PLAIN = 1
"""The set of compressions that has `identity` only: gRPC bounds a message before it unpacks it, not after."""


class GrpcV2:
    """Serves the calls while the service lives, where the settings name a port."""

    def __init__(
        self,
        section: InferenceSettings,
        service: Service,
        calls: Calls,
        link: TritonLink,
        tokens: TokenFile | None,
        metrics: Metrics,
    ) -> None:
        """Make it; raises LinesideError where the port cannot be used."""
        self._settings = section.grpc
        self._limits = section.limits
        self._service = service
        self._calls = calls
        self._link = link
        self._interceptors = (Access(tokens, metrics.refused),) if tokens is not None else ()
        self._health = Health(("", SERVICE.full_name), link.online.is_set)
        self._server: grpc.aio.Server | None = None
        if self._settings.port is not None:
            wanted = HttpSettings(host=self._settings.host, port=self._settings.port)
            lineside.service.bind(wanted, variable(("inference", "grpc", "port"))).close()

    async def start(self) -> None:
        """Begin to serve; raises LinesideError where somebody else took the port meanwhile."""
        host, port = self._settings.host, self._settings.port
        if port is None:
            return
        self._server = grpc.aio.server(
            interceptors=self._interceptors,
            options=(
                ("grpc.max_receive_message_length", self._limits.body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
                ("grpc.compression_enabled_algorithms_bitset", _ONLY_PLAIN),
            ),
            maximum_concurrent_rpcs=self._limits.v2_concurrency + self._limits.queue + _BESIDE,
        )
        self._server.add_generic_rpc_handlers((self._calls.handler(), self._health.handler()))
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server.add_insecure_port(target)
        except RuntimeError as error:
            raise LinesideError(f"cannot listen on {target}: {error}", remedy="change inference.grpc.port") from None
        await self._server.start()
        self._service.spawn("gRPC health", self._health.follow(self._link))
        log.info("serves the Open Inference Protocol over gRPC", address=target)

    async def close(self, grace_s: float) -> None:
        """Take no more calls, and end when those under way have, after `grace_s` seconds at the latest."""
        if self._server is not None:
            self._health.close()
            self._calls.answering.close()
            await self._server.stop(grace_s)
