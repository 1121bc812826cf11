"""Tensors lent to the agent as System V shared memory, of which nothing stays however this process ends.

A segment is marked to be removed as soon as it is made: Linux lets others attach it by its id until the last one
detaches, and ours is attached until this process ends, be it by SIGKILL.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import sysv_ipc

from lineside.cli.edge_manager.errors import BadInput
from lineside.cli.edge_manager.location import group_of
from lineside.cli.edge_manager.tensor_files import Array
from lineside.edge_manager.protocol import agent_pb2 as pb


@contextmanager
def lent(array: Array, group: int) -> Iterator[pb.SharedMemoryHandle]:
    """Yield the handle of a segment with an array's bytes, which its owner and a group may read, and nobody write.

    Raises BadInput where the system has no room for it.
    """
    try:
        segment = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=array.nbytes, mode=0o600)
    except (OSError, MemoryError, ValueError, sysv_ipc.Error) as error:
        raise BadInput(
            f"no shared memory of {array.nbytes} bytes can be made: {error}",
            remedy="`ipcs -lm` shows the system's limits; without --shm the bytes are sent",
        ) from None
    segment.remove()
    try:
        with memoryview(segment) as memory:
            memory[:] = array.reshape(-1).view(np.uint8).data
        try:
            segment.gid = group
            segment.mode = 0o440  # as the agent demands: what it reads must not change meanwhile
        except (OSError, sysv_ipc.Error) as error:
            raise BadInput(f"shared memory cannot be given to group {group_of(group)}: {error}") from None
        yield pb.SharedMemoryHandle(segment_id=segment.id, size=array.nbytes)
    finally:
        segment.detach()
