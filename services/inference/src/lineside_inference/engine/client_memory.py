"""System shared memory of v2's own clients, registered in Triton for them.

A region belongs to its file in /dev/shm: it is there for every client of the service until one of them unregisters it,
or its file is gone or another one of the same name. Triton gets it under a name of ours, so that no client meets the
service's own memory, another service's, or what somebody registered in Triton directly.
"""

import os
import re
import stat
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.engine.arena import FOLDER
from lineside_inference.engine.failures import kind_of, text_of
from lineside_inference.engine.link import TritonLink, describe, is_in_use
from lineside_inference.errors import (
    EngineUnavailable,
    Refused,
    SharedMemoryInvalid,
    SharedMemoryRefused,
    SharedMemoryUnknown,
)
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference.client_memory")

SETTING = "inference.limits.client_shared_memory_prefixes"
_KEY = re.compile(r"/?([A-Za-z0-9_.-]{1,200})\Z")
_MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class ClientRegion:
    """One region as its client registered it: `offset` and `size` in bytes; `file` tells one file from the next."""

    name: str
    key: str
    offset: int
    size: int
    in_triton: str
    file: tuple[int, int]


class ClientMemory:
    """The regions; `version` is another number after every change."""

    def __init__(self, link: TritonLink, limits: LimitSettings, folder: Path = FOLDER) -> None:
        self.version = 0
        self._link = link
        self._prefixes = limits.client_shared_memory_prefixes
        self._max_regions = limits.client_shared_memory_regions
        self._max_bytes = limits.client_shared_memory_bytes
        self._folder = folder
        self._regions: dict[str, ClientRegion] = {}
        link.clients = self

    @property
    def is_allowed(self) -> bool:
        """Whether any prefix is on the list."""
        return bool(self._prefixes)

    def check_allowed(self) -> None:
        """Raise SharedMemoryRefused where no prefix is on the list."""
        if not self._prefixes:
            raise SharedMemoryRefused(
                "clients' shared memory is not taken here",
                remedy=f"List the prefixes of its keys in {SETTING}, or send tensors in binary",
            )

    def list(self, name: str = "") -> "list[ClientRegion]":
        """Return all regions, or the one of this name; raises SharedMemoryUnknown."""
        if not name:
            return list(self._regions.values())
        if name not in self._regions:
            raise SharedMemoryUnknown(f"no system shared memory region {name!r:.100} is registered")
        return [self._regions[name]]

    def find(self, name: str) -> ClientRegion | None:
        """Return the region of this name."""
        return self._regions.get(name)

    def has(self, in_triton: str) -> bool:
        """Whether a region is registered under this name of Triton's."""
        return any(region.in_triton == in_triton for region in self._regions.values())

    async def register(self, name: str, key: str, offset: int, size: int) -> None:
        """Register `size` bytes from `offset` of the file that shm_open names `key`.

        Raises SharedMemoryRefused, SharedMemoryInvalid, Refused or EngineUnavailable.
        """
        self.check_allowed()
        if not 1 <= len(name) <= _MAX_NAME:
            raise SharedMemoryInvalid(f"a region's name must have 1 to {_MAX_NAME} characters")
        path = self._path(key)
        await self.sweep()
        if name in self._regions:
            raise SharedMemoryInvalid(
                f"region {name!r:.100} is registered already", remedy="Unregister it first, or choose another name"
            )
        region = ClientRegion(name, key, offset, size, f"{self._link.region}.{name}", _file(path, offset + size))
        others = sum(one.size for one in self._regions.values())
        if len(self._regions) >= self._max_regions or others + size > self._max_bytes:
            raise Refused(
                f"{len(self._regions)} regions of clients with {others} bytes are registered",
                remedy="Unregister some; the bounds are inference.limits.client_shared_memory_regions and _bytes",
            )
        self._regions[name] = region  # before Triton has it: nobody else takes the name or the room meanwhile
        try:
            await self._register(region)
        except grpc.aio.AioRpcError as error:
            self._regions.pop(name, None)
            if kind_of(error) in {"server", "late"}:
                raise EngineUnavailable(f"Triton does not take it now: {text_of(error)}") from None
            raise SharedMemoryInvalid(f"Triton cannot map region {name!r:.100}: {text_of(error)}") from None
        except BaseException:
            self._regions.pop(name, None)
            raise
        finally:
            self.version += 1

    async def unregister(self, name: str = "") -> None:
        """Let go of one region, or of all where the name is empty; one that is not registered is no error.

        Raises SharedMemoryInvalid where a request uses one for longer than Triton is waited for: it stays registered.
        """
        chosen = [region for region in self._regions.values() if name in {"", region.name}]
        if used := [region.name for region in chosen if not await self._drop(region)]:
            raise SharedMemoryInvalid(
                f"Triton uses region {used[0]!r:.100} for a request",
                remedy="Unregister it when the request is answered",
            )

    async def sweep(self) -> None:
        """Let go of the regions whose file is gone or another one."""
        for region in tuple(self._regions.values()):
            try:
                status = (self._folder / region.key.removeprefix("/")).stat()
            except OSError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != region.file:
                log.info("a client's shared memory is gone; it is unregistered", region=region.name, key=region.key)
                await self._drop(region, is_patient=False)

    async def restore(self, known: Container[str]) -> None:
        """Register the regions that are not among those that Triton has: it was started anew."""
        await self.sweep()
        for region in tuple(self._regions.values()):
            if region.in_triton in known:
                continue
            try:
                await self._register(region)
            except grpc.aio.AioRpcError as error:
                if kind_of(error) in {"server", "late"}:
                    raise
                log.warning("triton does not take a client's shared memory", region=region.name, reason=describe(error))
                self._forget(region)

    def _path(self, key: str) -> Path:
        found = _KEY.match(key)
        if found is None or not found[1].startswith(self._prefixes):
            raise SharedMemoryRefused(
                f"shared memory key {key!r:.100} is not allowed",
                remedy=f"Its name must begin as {SETTING} says, and have letters, digits, and . _ - only",
            )
        return self._folder / found[1]

    async def _register(self, region: ClientRegion) -> None:
        await self._link.stub.SystemSharedMemoryRegister(
            pb.SystemSharedMemoryRegisterRequest(
                name=region.in_triton, key=region.key, offset=region.offset, byte_size=region.size
            ),
            timeout=self._link.settings.timeout_ms / 1000,
        )

    async def _drop(self, region: ClientRegion, *, is_patient: bool = True) -> bool:
        """Return whether it is forgotten: one that Triton still uses is not, for Triton may yet write to it."""
        try:
            timeout_s = self._link.settings.timeout_ms / 1000
            await self._link.unregister(region.in_triton, timeout_s, is_patient=is_patient)
        except grpc.aio.AioRpcError as error:  # in all other cases Triton is away, and forgets it by that
            log.info("triton did not unregister a client's shared memory", region=region.name, reason=describe(error))
            if is_in_use(error):
                return False
        self._forget(region)
        return True

    def _forget(self, region: ClientRegion) -> None:
        if self._regions.get(region.name) is region:
            del self._regions[region.name]
        self.version += 1


def _file(path: Path, needed: int) -> tuple[int, int]:
    """Return which file this is; raises SharedMemoryInvalid where it has fewer bytes, or is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise SharedMemoryInvalid(
            f"shared memory {path.name!r} cannot be opened: {error.strerror}",
            remedy="Client, service and Triton must share /dev/shm",
        ) from None
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise SharedMemoryInvalid(f"shared memory {path.name!r} is no file")
    if status.st_size < needed:
        raise SharedMemoryInvalid(f"shared memory {path.name!r} has {status.st_size} bytes, and {needed} are named")
    return status.st_dev, status.st_ino
