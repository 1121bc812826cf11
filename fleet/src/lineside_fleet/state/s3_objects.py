"""Objects in S3 written only where nobody else wrote, by If-None-Match and If-Match; and a lock made of one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from lineside_fleet.aws.clients import Api
from lineside_fleet.errors import Locked
from lineside_fleet.state.owner import LEASE_S, Owner

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_MISSING = ("NoSuchKey", "404")


@dataclass(frozen=True)
class Found:
    """An object as it is."""

    body: bytes
    etag: str


class S3Objects:
    """Whole objects, by bucket and key."""

    def __init__(self, s3: Api, now: Callable[[], float]) -> None:
        self._s3 = s3
        self._now = now

    def get(self, bucket: str, key: str) -> Found | None:
        """Return an object, None where there is none; raises AwsError."""
        answer = self._s3.call("get_object", absent=_MISSING, Bucket=bucket, Key=key)
        if answer is None:
            return None
        with self._s3.reading("get_object"):
            return Found(answer["Body"].read(), str(answer["ETag"]))

    def put(self, bucket: str, key: str, body: bytes, *, expected: str | None) -> str | None:
        """Write an object where it is still `expected` (None: where there is none); return its ETag, None where not.

        Where no answer came to a write that was done, the second try is refused: then what is there is compared.
        """
        condition: dict[str, Any] = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        absent = (*_TAKEN, *(() if expected is None else _MISSING))
        answer = self._s3.call("put_object", absent=absent, Bucket=bucket, Key=key, Body=body, **condition)
        if answer is not None:
            return str(answer["ETag"])
        found = self.get(bucket, key)
        return found.etag if found is not None and found.body == body else None

    @contextmanager
    def lock(self, bucket: str, key: str, owner: Owner, *, take_over: bool = False) -> Iterator[None]:
        """Hold an object as a lock; raises Locked where somebody else does, AwsError."""
        body = owner.model_dump_json().encode()
        etag = self.put(bucket, key, body, expected=None)
        while etag is None:
            found = self.get(bucket, key)
            held = None if found is None else _owner(found.body)
            if held is not None and not take_over and not held.is_dead() and self._now() - held.since < LEASE_S:
                raise Locked(
                    f"s3://{bucket}/{key}: {held.says()} works on this rollout",
                    remedy=f"Wait until it has ended; after {LEASE_S / 60:g} minutes its lock counts no more, "
                    "or at once by --take-over",
                )
            etag = self.put(bucket, key, body, expected=None if found is None else found.etag)
        try:
            yield
        finally:
            found = self.get(bucket, key)
            if found is not None and found.etag == etag:
                self._s3.ask("delete_object", Bucket=bucket, Key=key)


def _owner(body: bytes) -> Owner | None:
    try:
        return Owner.model_validate_json(body)
    except ValidationError:
        return None
