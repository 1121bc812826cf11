"""Shared memory: room for the arena, and whether Triton sees the same memory as the inference service."""

import os
import secrets
from pathlib import Path

import grpc
from tritonclient.grpc import service_pb2 as pb

from lineside.checks import Check, ok, skip, warn
from lineside.spool.findings import mebibytes
from lineside_inference.doctor.running import Running
from lineside_inference.doctor.triton import ANSWER_S, Server
from lineside_inference.engine.arena import FOLDER, PAGE, Arena, aligned
from lineside_inference.engine.link import describe
from lineside_inference.engine.wire import Layout
from lineside_inference.models.store import ModelStore
from lineside_inference.settings import TritonSettings

SHARED = "shared memory"

_BYTES = "tensors go to Triton in bytes, which takes longer"
_SHARE = "give Triton and the inference service the same /dev/shm, as compose.yaml does"


def needed(settings: TritonSettings, stores: list[ModelStore]) -> int:
    """Return how many bytes the arena of the inference service takes."""
    sizes = [Layout.of(card).size for store in stores for name in store for card in store.cards(name).values()]
    return aligned(max([settings.slot_bytes, *sizes])) * settings.slots


async def check(
    settings: TritonSettings,
    stores: list[ModelStore],
    server: Server | None,
    running: Running | None,
    folder: Path = FOLDER,
) -> Check:
    """Say whether tensors go through shared memory: by the running service's word, else by trying it."""
    if settings.shared_memory == "off":
        return skip(SHARED, "inference.triton.shared_memory is off")
    need = needed(settings, stores)
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return warn(SHARED, f"{folder}: {error.strerror}; {_BYTES}", "mount a tmpfs there")
    total, free = room.f_blocks * room.f_frsize, room.f_bavail * room.f_frsize
    what = f"{folder} has {mebibytes(free)} of {mebibytes(total)} free, the arena takes {mebibytes(need)}"
    if running and running.engine.get("transport"):
        return _of_service(what, running)
    if need > free:
        return warn(SHARED, f"{what}: {_BYTES}", "enlarge it (shm_size), or lower inference.triton.slots")
    if server is None:
        return skip(SHARED, f"{what}; whether Triton shares it needs: Triton")
    why = await _refused(server, folder)
    return warn(SHARED, f"{what}; Triton does not see it ({why}): {_BYTES}", _SHARE) if why else ok(SHARED, what)


def _of_service(what: str, running: Running) -> Check:
    if running.engine["transport"] == "shared-memory":
        return ok(SHARED, f"{what}; in use with Triton")
    return warn(SHARED, f"{what}; {_BYTES}: {running.engine.get('detail', '')}", f"enlarge it; {_SHARE}")


async def _refused(server: Server, folder: Path) -> str:
    """Let Triton map a page of ours and forget it; return why it cannot, nothing where it can."""
    arena = Arena(slot_bytes=PAGE, slots=1, folder=folder)
    name = f"lineside_doctor_{secrets.token_hex(4)}"
    try:
        await server.stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(name=name, key=arena.key or "", offset=0, byte_size=arena.size),
            timeout=ANSWER_S,
        )
        await server.stub.SystemSharedMemoryUnregister(
            pb.SystemSharedMemoryUnregisterRequest(name=name), timeout=ANSWER_S
        )
    except grpc.RpcError as error:
        return describe(error)
    finally:
        arena.close()
    return ""
