"""System V shared memory that a client names by its id: attached read-only for one reading, checked, and detached.

A segment's size never changes, so that what was checked holds while it is read. The kernel lets this process attach
what its user may read. Ids mean something within one IPC namespace only.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import sysv_ipc

from lineside_inference.errors import SharedMemoryInvalid, SharedMemoryRefused

log = structlog.get_logger("lineside.inference.agent")

_WRITE_OR_EXECUTE = 0o333
_MAX_ID = 2**31 - 1


@contextmanager
def attached(segment_id: int, offset: int, size: int | None, *, strict: bool) -> Iterator[memoryview]:
    """Yield `size` bytes from `offset` of a segment, or all from there; read them until this ends, never write them.

    `strict`: refuse a segment that anybody may write, as Edge Manager's agent did. Raises SharedMemoryInvalid, and
    SharedMemoryRefused.
    """
    segment = _attach(segment_id)
    try:
        end = offset + size if size is not None else max(offset, segment.size)
        if end > segment.size:
            raise SharedMemoryInvalid(
                f"bytes {offset} to {end} of shared memory segment {segment_id} are named, and it has {segment.size}",
                remedy="Give an offset and a size within it; size 0 is the size of the tensor",
            )
        _check_mode(segment_id, segment.mode, strict=strict)
        with memoryview(segment) as whole, whole[offset:end] as part:
            yield part  # released before the segment goes: a read after that would end the process
    finally:
        segment.detach()


def _attach(segment_id: int) -> sysv_ipc.SharedMemory:
    if segment_id > _MAX_ID:
        raise SharedMemoryInvalid(f"shared memory segment {segment_id} cannot be", remedy=f"An id is at most {_MAX_ID}")
    try:
        return sysv_ipc.attach(segment_id, flags=sysv_ipc.SHM_RDONLY)
    except sysv_ipc.PermissionsError:
        raise SharedMemoryInvalid(
            f"this service's user may not read shared memory segment {segment_id}",
            remedy="Give others the right to read: mode 0444",
        ) from None
    except (ValueError, sysv_ipc.ExistentialError):
        raise SharedMemoryInvalid(
            f"there is no shared memory segment {segment_id} here",
            remedy="Give the segment's id (shmid, not its key). A service in a container sees the host's segments only "
            "with the host's IPC namespace (ipc: host), else send the bytes",
        ) from None
    except (OSError, MemoryError, sysv_ipc.Error) as error:
        raise SharedMemoryInvalid(f"shared memory segment {segment_id} cannot be attached: {error}") from None


def _check_mode(segment_id: int, mode: int, *, strict: bool) -> None:
    if not mode & _WRITE_OR_EXECUTE:
        return
    what = f"shared memory segment {segment_id} has mode {mode & 0o777:04o}: it could change while it is read"
    remedy = "Set its mode to read-only (0400 or 0444) once it is written"
    if strict:
        raise SharedMemoryRefused(what, remedy=f"{remedy}; or set strict to false")
    log.warning("a client's shared memory can be written", segment=segment_id, reason=what, remedy=remedy)
