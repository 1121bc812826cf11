"""The supervised connection to one Triton server: channel, health, and the shared-memory region registered in it.

Triton forgets the region when it restarts. Every check therefore asks for the region too, and a request that finds it
missing reports `trouble`, which brings the supervisor back at once. So does a connection that breaks: a restart between
two checks shows in nothing else where tensors go in bytes.
"""

import asyncio
import os
import re
import secrets
from collections.abc import Callable, Container
from typing import Any, Protocol

import grpc
import structlog
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs

from lineside.connections import Connection
from lineside_inference.engine.arena import FOLDER, PREFIX, Arena
from lineside_inference.engine.http import TritonHttp
from lineside_inference.engine.message import InferMessage, Reply
from lineside_inference.engine.wire import Transport
from lineside_inference.errors import EngineUnavailable, SharedMemoryInvalid
from lineside_inference.settings import TritonSettings

log = structlog.get_logger("lineside.inference.triton")

_REGION = "lineside_"
_UNKNOWN_REGION = re.compile("region: '([^']*)'")
_IN_USE = "currently in use"  # Triton 2.69: it answers a request before it lets go of the request's memory
_AGAIN_S = 0.01
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
)


class ClientRegions(Protocol):
    """Regions of clients that are registered in Triton beside our own."""

    def has(self, in_triton: str) -> bool:
        """Whether Triton should have a region of this name."""

    async def sweep(self) -> None:
        """Let go of those whose memory is gone."""

    async def restore(self, known: Container[str]) -> None:
        """Register those that are not among what Triton has."""

    async def unregister(self) -> None:
        """Let go of all."""


class TritonLink:
    """The server's side of the engine; `online` is set while requests can be sent.

    `transport` is None until the first connection has shown which one works. `on_lost` is called whenever the server
    may have been restarted: what it serves is not known any more.
    """

    def __init__(self, settings: TritonSettings, arena: Arena, state: Connection) -> None:
        self.settings = settings
        self.state = state
        self.online = asyncio.Event()
        self.transport: Transport | None = None
        self.on_lost: list[Callable[[], None]] = []
        self.why_bytes = "shared memory is off (inference.triton.shared_memory)" if arena.key is None else ""
        self.server = ""
        self.version = ""
        self.clients: ClientRegions | None = None
        self.region = f"{_REGION}{os.getpid()}_{secrets.token_hex(4)}"
        self._arena = arena
        self._timeout_s = settings.timeout_ms / 1000
        self._check_now = asyncio.Event()
        self._channel: Any = None
        self.stub: Any = None
        self._http = TritonHttp(settings.http_url or _port_before(settings.url))
        self._is_over_http = settings.http_url is not None

    def open(self) -> None:
        """Make the channel; it belongs to the loop that runs now."""
        self._channel = grpc.aio.insecure_channel(self.settings.url, options=_OPTIONS)
        self.stub = stubs.GRPCInferenceServiceStub(self._channel)

    def infer(self, message: InferMessage, timeout_s: float | None) -> "asyncio.Future[Reply]":
        """Send one inference; raises AioRpcError by the future. `timeout_s` is told to gRPC; the caller bounds both.

        What may not run twice goes by gRPC, which sends nothing again by itself.
        """
        if self._is_over_http and message.is_repeatable:
            return self._http.infer(message)
        return asyncio.ensure_future(self._infer_by_grpc(message, timeout_s))

    async def _infer_by_grpc(self, message: InferMessage, timeout_s: float | None) -> Reply:
        response = await self.stub.ModelInfer(message.as_grpc(), timeout=timeout_s)
        return Reply(response, response.raw_output_contents)

    async def supervise(self) -> None:
        """Connect, watch, connect again, for ever."""
        while True:
            self.state.connecting()
            try:
                await self._connect()
            except (grpc.RpcError, EngineUnavailable) as error:
                await asyncio.sleep(self.state.backoff(describe(error)))
                continue
            breaking = asyncio.create_task(self._tell_of_a_break(), name="triton connection")
            try:
                await self._watch()
            finally:
                breaking.cancel()
            self._lost()

    async def unregister(self, region: str, timeout_s: float, *, is_patient: bool = True) -> None:
        """Let Triton forget this region of system shared memory; one that it does not have is no error.

        The patient ask again for so long, where a request uses it: Triton answers a request before it lets go of its
        memory. Raises AioRpcError.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + timeout_s
        while True:
            try:
                await self.stub.SystemSharedMemoryUnregister(
                    pb.SystemSharedMemoryUnregisterRequest(name=region), timeout=until - clock()
                )
            except grpc.aio.AioRpcError as error:
                if not (is_patient and is_in_use(error) and clock() + _AGAIN_S < until):
                    raise
            else:
                return
            await asyncio.sleep(_AGAIN_S)

    def has_lost(self, said: str) -> bool:
        """Whether Triton's words are about a region that it should have."""
        found = _UNKNOWN_REGION.search(said)
        name = found[1] if found is not None else ""
        return name == self.region or (self.clients is not None and self.clients.has(name))

    def trouble(self, reason: str) -> None:
        """Say that the server was found away; the supervisor checks at once."""
        if self.online.is_set():
            log.warning("triton may be away; checking it", reason=reason)
            self._lost()
            self._check_now.set()

    def _lost(self) -> None:
        self.online.clear()
        for tell in self.on_lost:
            tell()

    async def _tell_of_a_break(self) -> None:
        await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        self.trouble("the connection broke")

    async def close(self) -> None:
        """Let Triton forget the region, as far as it answers within a second, and close the channel."""
        if self.clients is not None and self.online.is_set():
            try:
                await self.clients.unregister()
            except SharedMemoryInvalid as error:
                log.warning("triton keeps a client's shared memory", reason=str(error))
        if self.transport == "shared-memory" and self.online.is_set():
            try:
                await self.unregister(self.region, 1.0)
            except grpc.RpcError as error:
                log.warning("triton keeps our shared memory", region=self.region, reason=describe(error))
        self.online.clear()
        self._http.close()
        await self._channel.close()

    async def _connect(self) -> None:
        ready = await self.stub.ServerReady(pb.ServerReadyRequest(), timeout=self._timeout_s)
        if not ready.ready and not (await self.stub.ServerLive(pb.ServerLiveRequest(), timeout=self._timeout_s)).live:
            raise EngineUnavailable("Triton says that it is not live")
        metadata = await self.stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=self._timeout_s)
        self.server, self.version = metadata.name, metadata.version
        transport: Transport = "shared-memory" if await self._is_shared() else "bytes"
        if self.clients is not None:
            await self.clients.restore(await self._regions())
        if self.settings.http_url is None:
            await self._look_for_http(transport)
        if transport != self.transport:
            log.info("transport to triton", transport=transport, reason=self.why_bytes or None)
        self.transport = transport
        self._check_now.clear()
        self.state.online(f"{self.server} {self.version}, {transport}")
        self.online.set()

    async def _look_for_http(self, transport: Transport) -> None:
        """Take the HTTP port for inferences where it is this very server's: it knows our shared memory.

        An inference costs Triton and us less there than by gRPC.
        """
        path = f"/v2/systemsharedmemory/region/{self.region}/status"
        is_there = transport == "shared-memory" and await self._http.is_there(path, self._timeout_s)
        if is_there != self._is_over_http:
            log.info("inference calls to triton", port=self._http.url if is_there else self.settings.url)
        self._is_over_http = is_there

    async def _watch(self) -> None:
        """Return when the server does not answer a check, or has lost the region."""
        while True:
            if await set_within(self._check_now, self.settings.health_ms / 1000):
                return
            try:
                live = await self.stub.ServerLive(pb.ServerLiveRequest(), timeout=self._timeout_s)
                if not live.live:
                    return
                if self.transport == "shared-memory" and self.region not in await self._regions():
                    log.warning("triton has lost our shared memory; it has been restarted")
                    return
                if self.clients is not None:
                    await self.clients.sweep()
            except grpc.RpcError as error:
                log.warning("triton does not answer", reason=describe(error))
                return

    async def _is_shared(self) -> bool:
        """Register the region where it is not; return False, with the reason kept, where Triton cannot map it."""
        if self._arena.key is None:
            return False
        try:
            regions = await self._regions()
            await self._forget_the_dead(regions)
            if self.region not in regions:
                await self.stub.SystemSharedMemoryRegister(
                    pb.SystemSharedMemoryRegisterRequest(
                        name=self.region, key=self._arena.key, offset=0, byte_size=self._arena.size
                    ),
                    timeout=self._timeout_s,
                )
        except grpc.aio.AioRpcError as error:
            if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise
            self.why_bytes = f"Triton cannot map our shared memory: {error.details()}"
            return False
        self.why_bytes = ""
        return True

    async def _regions(self) -> dict[str, str]:
        """Return the keys of the regions that Triton has, by name."""
        status = await self.stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(), timeout=self._timeout_s)
        return {name: region.key for name, region in status.regions.items()}

    async def _forget_the_dead(self, regions: dict[str, str]) -> None:
        """Let Triton forget our regions and those of our clients whose file is gone: it would hold them for ever."""
        for name, key in regions.items():
            is_ours = key.startswith(f"/{PREFIX}") or name.startswith(_REGION)
            if name != self.region and is_ours and not (FOLDER / key.removeprefix("/")).exists():
                await self.stub.SystemSharedMemoryUnregister(
                    pb.SystemSharedMemoryUnregisterRequest(name=name), timeout=self._timeout_s
                )
                log.info("triton forgets the shared memory of a process that is gone", region=name)


def _port_before(url: str) -> str:
    """Return where Triton's HTTP port is by default: one below gRPC's."""
    host, _, port = url.rpartition(":")
    return f"{host}:{int(port) - 1}"


def is_in_use(error: grpc.aio.AioRpcError) -> bool:
    """Return whether Triton does not unregister a region because a request uses it."""
    return _IN_USE in (error.details() or "")


def describe(error: BaseException) -> str:
    """Return an RPC's failure as `CODE: details`, another error as its text."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {' '.join((error.details() or '').split())}"
    return " ".join(str(error).split()) or type(error).__name__


async def set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, for so many seconds at most, and return whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
