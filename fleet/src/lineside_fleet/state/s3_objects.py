"""Objects in S3 written only where nobody else wrote, by If-None-Match and If-Match."""

from dataclasses import dataclass
from typing import Any

from lineside_fleet.aws.clients import Api

_TAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_MISSING = ("NoSuchKey", "404")


@dataclass(frozen=True)
class Found:
    """An object as it is."""

    body: bytes
    etag: str


class S3Objects:
    """Whole objects, by bucket and key."""

    def __init__(self, s3: Api) -> None:
        self._s3 = s3

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

    def remove(self, bucket: str, key: str, *, expected: str) -> None:
        """Delete an object where it is still `expected`; raises AwsError."""
        found = self.get(bucket, key)
        if found is not None and found.etag == expected:
            self._s3.ask("delete_object", Bucket=bucket, Key=key)
