"""One object of S3 is brought to the disk: what was cut off goes on where it ended, and only with the same content.

The object is named by its entity tag: where that is another by now, nothing of it is taken. What waits and is tried
again is bounded here; what an error means to people is the caller's to say.
"""

import errno
import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from botocore import exceptions

from lineside.aws_errors import THROTTLING_CODES, Cause, cause_of, code, status
from lineside.backoff import Backoff

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

TRIES = 4
"""In a row, without a byte between them; then it is the caller's to try again later."""
BACKOFF = Backoff(1.0, 10.0)
CHUNK_BYTES = 1024 * 1024
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_SERVER_ERROR = 500


class Changed(Exception):
    """An object is another one than when it was looked at."""


@dataclass(frozen=True)
class RemoteObject:
    """An object as it was found: its place, its size in bytes and its entity tag."""

    bucket: str
    key: str
    size: int
    etag: str


class Sink(Protocol):
    """Where the bytes of an object go."""

    def begin(self) -> int:
        """Return how many bytes of this content are there already."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


def may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed in some seconds."""
    if isinstance(error, exceptions.ClientError):
        return status(error) >= _SERVER_ERROR or code(error) in THROTTLING_CODES | {"RequestTimeout"}
    if isinstance(error, Changed) or getattr(error, "errno", None) in DISK_FULL | {errno.EROFS, errno.EACCES}:
        return False
    return cause_of(error) in {Cause.NETWORK, Cause.CREDENTIAL_PROVIDER, Cause.NOT_AWS}


def fetch(client: "S3Client", wanted: RemoteObject, sink: Sink, wait: Callable[[float], None]) -> None:
    """Bring an object; `wait` is told the seconds before the next try.

    Raises the last error where no more tries help: botocore's, Changed, or what a disk says.
    """
    failures = 0
    for _ in itertools.count():
        start = sink.begin()
        here = start
        if start == wanted.size:
            return
        try:
            for chunk in _content(client, wanted, start):
                sink.write(chunk)
                here += len(chunk)
            if here != wanted.size:
                raise ConnectionError(f"{wanted.key} ended after {here} of {wanted.size} bytes")  # noqa: TRY301 - tried again below
        except Exception as error:  # botocore, urllib3 and sockets each have their own
            failures = 1 if here > start else failures + 1
            if failures >= TRIES or not may_pass(error):
                raise
            wait(BACKOFF.wait_s(failures - 1))
        else:
            return


def _content(client: "S3Client", wanted: RemoteObject, start: int) -> Iterator[bytes]:
    answer = client.get_object(Bucket=wanted.bucket, Key=wanted.key, Range=f"bytes={start}-", IfMatch=wanted.etag)
    whole = answer["ContentRange"].rpartition("/")[2] if answer.get("ContentRange") else str(wanted.size)
    with closing(answer["Body"]) as body:
        if whole != str(wanted.size) or answer["ContentLength"] != wanted.size - start:
            raise Changed(repr(wanted.key))
        yield from body.iter_chunks(CHUNK_BYTES)
