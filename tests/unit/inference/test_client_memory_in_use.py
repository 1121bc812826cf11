"""A region that a request still uses, by a server that refuses to forget it as Triton does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc as stubs

from lineside.connections import Connection
from lineside_inference.engine.client_memory import ClientMemory
from lineside_inference.engine.link import TritonLink
from lineside_inference.errors import SharedMemoryInvalid
from lineside_inference.settings import LimitSettings, TritonSettings

NEVER = 10**9


class Server(stubs.GRPCInferenceServiceServicer):  # type: ignore[misc]  # the stubs have no types
    """It refuses so many times to forget a region, as Triton 2.69 does while a request uses it."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked = 0

    async def SystemSharedMemoryRegister(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's name
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, context: Any) -> Any:  # noqa: N802 - gRPC's name
        self.asked += 1
        if self.asked <= self.refusals:
            said = f"Cannot unregister shared memory region '{request.name}', it is currently in use."
            await context.abort(grpc.StatusCode.INTERNAL, said)
        return pb.SystemSharedMemoryUnregisterResponse()


@asynccontextmanager
async def registered(folder: Path, refusals: int) -> AsyncIterator[tuple[ClientMemory, Server]]:
    """The memory with the region `mine`, of a link to such a server."""
    server, theirs = grpc.aio.server(), Server(refusals)
    stubs.add_GRPCInferenceServiceServicer_to_server(theirs, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    link = TritonLink(
        TritonSettings(url=f"127.0.0.1:{port}", timeout_ms=200),
        SimpleNamespace(key=None),  # type: ignore[arg-type]  # no tensor is sent
        Connection("triton", "triton"),
    )
    link.open()
    (folder / "window").write_bytes(bytes(8))
    memory = ClientMemory(link, LimitSettings(client_shared_memory_prefixes=["win"]), folder)
    try:
        await memory.register("mine", "/window", 0, 8)
        yield memory, theirs
    finally:
        await link.close()
        await server.stop(None)


async def test_what_triton_uses_for_a_moment_longer_is_asked_again(tmp_path: Path) -> None:
    async with registered(tmp_path, refusals=2) as (memory, server):
        await memory.unregister("mine")
        assert memory.list() == []
        assert server.asked == 3


async def test_what_triton_uses_for_long_stays_registered_and_the_client_is_told(tmp_path: Path) -> None:
    async with registered(tmp_path, refusals=NEVER) as (memory, server):
        with pytest.raises(SharedMemoryInvalid, match="uses region 'mine' for a request"):
            await memory.unregister("")
        assert [region.name for region in memory.list()] == ["mine"]
        server.refusals = 0
        await memory.unregister("mine")
        assert memory.list() == []


async def test_one_whose_file_is_gone_is_let_go_by_the_sweep_after_its_request(tmp_path: Path) -> None:
    async with registered(tmp_path, refusals=1) as (memory, server):
        (tmp_path / "window").unlink()
        await memory.sweep()
        assert [region.name for region in memory.list()] == ["mine"]
        await memory.sweep()
        assert (memory.list(), server.asked) == ([], 2)
