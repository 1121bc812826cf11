"""The lock of a state in S3: an object with its owner in it, renewed while the owner's command works.

A holder that renews nothing for a lease, because it died, sleeps or has lost its network, is taken over. Should it come
back, its next renewal finds another owner's object, and so does `check`, which is asked before each write of the state.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from lineside_fleet.errors import AwsError, Locked
from lineside_fleet.state.owner import LEASE_S, RENEW_S, Owner
from lineside_fleet.state.s3_objects import S3Objects


class S3Lock:
    """The lock object of one state; `now` is seconds since 1970, `renew_s` how often a held one is renewed."""

    def __init__(
        self, bucket: str, key: str, objects: S3Objects, now: Callable[[], float], renew_s: float = RENEW_S
    ) -> None:
        self.where = f"s3://{bucket}/{key}"
        self._bucket, self._key, self._objects, self._now, self._renew_s = bucket, key, objects, now, renew_s
        self._one_at_a_time = threading.Lock()
        self._owner: Owner | None = None
        self._etag: str | None = None
        """Of the object that is ours; None while none is."""

    @contextmanager
    def held(self, owner: Owner, *, take_over: bool = False) -> Iterator[None]:
        """Hold it, renewed by a thread; raises Locked where somebody else does, AwsError."""
        self._take(owner, take_over=take_over)
        ended = threading.Event()
        thread = threading.Thread(target=self._keep, args=(ended,), name="state lock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            etag, self._owner, self._etag = self._etag, None, None
            if etag is not None:
                self._objects.remove(self._bucket, self._key, expected=etag)

    def check(self) -> None:
        """Renew it, so that it is surely ours; nothing where it is not held. Raises Locked, AwsError."""
        self._renew()
        if self._owner is not None and self._etag is None:
            raise Locked(
                f"{self.where} was taken over: by --take-over, or as this command was not heard of for "
                f"{LEASE_S / 60:g} minutes",
                remedy="See who works on this rollout; then run the command again, it goes on from there",
            )

    def _take(self, owner: Owner, *, take_over: bool) -> None:
        owner = owner.model_copy(update={"renewed": self._now()})
        etag = self._put(owner, expected=None)
        while etag is None:
            found = self._objects.get(self._bucket, self._key)
            held = None if found is None else _owner(found.body)
            if held is not None and not (take_over or held.is_dead() or held.is_silent(self._now())):
                raise Locked(
                    f"{self.where}: {held.says()} works on this rollout",
                    remedy="Wait until it has ended; where it was cut off, its lock counts no more after "
                    f"{LEASE_S / 60:g} minutes, or at once by --take-over",
                )
            etag = self._put(owner, expected=None if found is None else found.etag)
        self._owner, self._etag = owner, etag

    def _keep(self, ended: threading.Event) -> None:
        while not ended.wait(self._renew_s):
            try:
                self._renew()
            except AwsError:
                continue  # a network that is away for a while costs nothing: the next try comes
            if self._etag is None:
                return

    def _renew(self) -> None:
        with self._one_at_a_time:
            if self._owner is None or self._etag is None:
                return
            owner = self._owner.model_copy(update={"renewed": self._now()})
            etag = self._put(owner, expected=self._etag)
            if etag is None and (written := self._ours(owner)) is not None:
                etag = self._put(owner, expected=written)
            self._etag = etag
            if self._etag is not None:
                self._owner = owner

    def _ours(self, owner: Owner) -> str | None:
        """Return the ETag of what an earlier renewal wrote whose answer was lost; None where it is not ours."""
        found = self._objects.get(self._bucket, self._key)
        held = None if found is None else _owner(found.body)
        is_same = held is not None and held.model_copy(update={"renewed": owner.renewed}) == owner
        return found.etag if found is not None and is_same else None

    def _put(self, owner: Owner, *, expected: str | None) -> str | None:
        return self._objects.put(self._bucket, self._key, owner.model_dump_json().encode(), expected=expected)


def _owner(body: bytes) -> Owner | None:
    try:
        return Owner.model_validate_json(body)
    except ValidationError:
        return None
