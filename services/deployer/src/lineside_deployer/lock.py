"""One deployer for a repository: a lock on a file in it, which its commands hold too while they change something.

A command outlives a deployer that was killed: the next one waits until it has ended.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from lineside_deployer.errors import RepositoryInUse

FILE = ".deployer.lock"
WAIT_S = 20.0
_LOOK_S = 0.1


def take(folder: Path, wait_s: float = WAIT_S, sleep: Callable[[float], None] = time.sleep) -> int:
    """Return the descriptor of the lock, which is held until it is closed; raises RepositoryInUse."""
    try:
        handle = os.open(folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RepositoryInUse(
            f"the model repository {folder} cannot be written: {error.strerror}",
            remedy="Let this service's user write it, or change deployer.model_repository",
        ) from None
    end = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                sleep(_LOOK_S)
                continue
            os.close(handle)
            raise RepositoryInUse(
                f"another deployer uses the model repository {folder}, or a command of one that was killed",
                remedy="One deployer a repository: stop the other one",
            ) from None
        return handle
