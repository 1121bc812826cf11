"""Where the state is kept. Both stores refuse to write over what somebody else wrote meanwhile."""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from lineside.documents import read_json
from lineside.durable_files import replace_file, sync
from lineside_fleet.aws.clients import Aws
from lineside_fleet.errors import FleetError, Refused
from lineside_fleet.state.document import RolloutState
from lineside_fleet.state.file_lock import file_lock
from lineside_fleet.state.owner import RENEW_S, Owner
from lineside_fleet.state.s3_lock import S3Lock
from lineside_fleet.state.s3_objects import S3Objects

_CHANGED = "The state was changed by somebody else meanwhile: run the command again, it goes on from there"


class Store(Protocol):
    """One rollout's state."""

    where: str

    def read(self) -> RolloutState | None:
        """Return it, None where the rollout was not started."""

    def write(self, state: RolloutState) -> None:
        """Put it whole in the place of what was read."""

    def locked(self, owner: Owner, *, take_over: bool = False) -> AbstractContextManager[None]:
        """Be the only one who works on it."""


def parsed(text: bytes, where: str) -> RolloutState:
    """Return a state; raises Refused where it is none."""
    try:
        return RolloutState.model_validate(read_json(text))
    except (ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise Refused(
            f"{where} is no rollout's state: {first}",
            remedy="Restore it from a copy; without it nothing is known of what was deployed",
        ) from None


class FileStore:
    """The state in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)
        self._seen: str | None = None

    def read(self) -> RolloutState | None:
        """Return the state, None where there is no file; raises Refused."""
        text = self._bytes()
        self._seen = None if text is None else hashlib.sha256(text).hexdigest()
        return None if text is None else parsed(text, self.where)

    def _bytes(self) -> bytes | None:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Refused(f"{self.where} cannot be read: {error.strerror}", remedy="Check who may read it") from None

    def write(self, state: RolloutState) -> None:
        """Replace the file; raises FleetError where it changed, or cannot be written."""
        there = self._bytes()
        if (None if there is None else hashlib.sha256(there).hexdigest()) != self._seen:
            raise FleetError(f"{self.where} changed under this command", remedy=_CHANGED, transient=True)
        text = state.to_json().encode()
        try:
            replace_file(self.path, text, mode=0o644)
            sync(self.path.parent)
        except OSError as error:
            raise FleetError(
                f"{self.where} cannot be written: {error.strerror}", remedy="Make room or give the right, and run again"
            ) from None
        self._seen = hashlib.sha256(text).hexdigest()

    def locked(self, owner: Owner, *, take_over: bool = False) -> AbstractContextManager[None]:
        """Hold the lock file beside it."""
        return file_lock(self.path.with_name(f"{self.path.name}.lock"), owner, take_over=take_over)


class S3Store:
    """The state in an S3 object, written only where it is still the one that was read, and the lock still ours."""

    def __init__(self, bucket: str, key: str, objects: S3Objects, lock: S3Lock) -> None:
        self.where = f"s3://{bucket}/{key}"
        self._bucket, self._key, self._objects, self._lock = bucket, key, objects, lock
        self._etag: str | None = None

    def read(self) -> RolloutState | None:
        """Return the state, None where there is no object; raises Refused, AwsError."""
        found = self._objects.get(self._bucket, self._key)
        self._etag = None if found is None else found.etag
        return None if found is None else parsed(found.body, self.where)

    def write(self, state: RolloutState) -> None:
        """Replace the object; raises Locked where the lock was taken over, FleetError where it changed, AwsError."""
        self._lock.check()
        etag = self._objects.put(self._bucket, self._key, state.to_json().encode(), expected=self._etag)
        if etag is None:
            raise FleetError(f"{self.where} changed under this command", remedy=_CHANGED, transient=True)
        self._etag = etag

    def locked(self, owner: Owner, *, take_over: bool = False) -> AbstractContextManager[None]:
        """Hold the lock object beside it."""
        return self._lock.held(owner, take_over=take_over)


def open_store(where: str, aws: Aws, now: Callable[[], float], renew_s: float = RENEW_S) -> Store:
    """Return the store of a path or an s3:// address; raises Refused. A lock in S3 is renewed every `renew_s`."""
    if "://" not in where:
        return FileStore(Path(where))
    scheme, _, rest = where.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket or not key:
        raise Refused(f"state: {where!r} is no place", remedy="Give a file's path, or s3://bucket/key")
    objects = S3Objects(aws.s3)
    return S3Store(bucket, key, objects, S3Lock(bucket, f"{key}.lock", objects, now, renew_s))
