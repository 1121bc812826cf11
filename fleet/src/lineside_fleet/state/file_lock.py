"""The lock of a state file: a file made by one process alone, with its owner in it.

One whose owner was on this machine and has ended is taken over by the next command: under a lock of the kernel's on the
old file, so that of two who come only one does. One of another machine is only taken over when a person says so.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lineside_fleet.errors import FleetError, Locked
from lineside_fleet.state.owner import Owner


@contextmanager
def file_lock(path: Path, owner: Owner, *, take_over: bool = False) -> Iterator[None]:
    """Hold the lock; raises Locked where somebody else does, FleetError where no lock can be made."""
    draft = path.with_name(f"{path.name}.{owner.pid}")
    try:
        draft.write_text(owner.model_dump_json() + "\n", encoding="utf-8")
        try:
            _take(path, draft, take_over=take_over)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise FleetError(f"{path} cannot be made: {error.strerror}", remedy="Give the right to write there") from None
    try:
        yield
    finally:
        if _owner(path) == owner:
            path.unlink(missing_ok=True)


def _take(path: Path, draft: Path, *, take_over: bool) -> None:
    while True:
        try:
            os.link(draft, path)  # whole with its owner at once, or refused
        except FileExistsError:
            pass
        else:
            return
        if _replaced(path, draft, take_over=take_over):
            return


def _replaced(path: Path, draft: Path, *, take_over: bool) -> bool:
    """Take a dead owner's lock; return False where it is gone meanwhile. Raises Locked."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if os.fstat(handle).st_ino != path.stat().st_ino:
                return False
        except FileNotFoundError:
            return False
        held = _owner(path)
        if held is not None and not held.is_dead() and not take_over:
            raise Locked(
                f"{path}: {held.says()} works on this rollout",
                remedy="Wait until it has ended; where it was on another machine and has: --take-over",
            )
        draft.replace(path)
        return True
    finally:
        os.close(handle)


def _owner(path: Path) -> Owner | None:
    """Return who holds it, None where the file is gone or says nothing: then nobody does."""
    try:
        return Owner.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
