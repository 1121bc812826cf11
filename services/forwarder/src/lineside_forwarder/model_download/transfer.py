"""Asks S3 for a folder's files; what is cut off is asked for again from where it ended."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.parsers import ResponseParserError

from lineside.backoff import Backoff
from lineside.greengrass.model_uri import S3Folder
from lineside_forwarder.model_download.failures import Changed, explain, may_pass
from lineside_forwarder.model_download.listing import Entry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

TRIES = 4
"""In a row, without a byte between them; then it is Greengrass' to try the step again."""
BACKOFF = Backoff(1.0, 10.0)
CHUNK_BYTES = 1024 * 1024


class Sink(Protocol):
    """Where the bytes of a file go."""

    def begin(self, entry: Entry) -> int:
        """Return how many bytes of this content are there already."""

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""


class Source:
    """A folder in S3. `wait` is told the seconds before the next try."""

    def __init__(self, client: "S3Client", folder: S3Folder, wait: Callable[[float], None]) -> None:
        self._client = client
        self._folder = folder
        self._wait = wait

    def objects(self) -> Iterator[Any]:
        """Yield the objects below the folder, page by page; raises NotFetched."""
        token = ""
        while True:
            page = self._patiently(partial(self._list, token))
            yield from page.get("Contents", ())
            token = page.get("NextContinuationToken", "")
            if not token:
                return

    def fetch(self, entry: Entry, sink: Sink) -> None:
        """Bring one file; raises NotFetched, and what a disk says."""
        failures = 0
        for _ in itertools.count():
            start = sink.begin(entry)
            here = start
            if start == entry.size:
                return
            try:
                for chunk in self._content(entry, start):
                    sink.write(chunk)
                    here += len(chunk)
                _check_end(entry, here)
            except Exception as error:  # botocore, urllib3 and sockets each have their own
                failures = 1 if here > start else failures + 1
                if failures >= TRIES or not may_pass(error):
                    raise explain(error, self._folder) from error
                self._wait(BACKOFF.wait_s(failures - 1))
            else:
                return

    def _content(self, entry: Entry, start: int) -> Iterator[bytes]:
        answer = self._client.get_object(
            Bucket=self._folder.bucket,
            Key=self._folder.prefix + entry.path,
            Range=f"bytes={start}-",
            IfMatch=entry.etag,
        )
        whole = answer["ContentRange"].rpartition("/")[2] if answer.get("ContentRange") else str(entry.size)
        if whole != str(entry.size) or answer["ContentLength"] != entry.size - start:
            raise Changed(repr(entry.path))
        yield from answer["Body"].iter_chunks(CHUNK_BYTES)

    def _list(self, token: str) -> Any:
        bucket, prefix = self._folder.bucket, self._folder.prefix
        page = (
            self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, ContinuationToken=token)
            if token
            else self._client.list_objects_v2(Bucket=bucket, Prefix=prefix)
        )
        if "Name" not in page:  # a login page that happens to be XML is no empty folder
            raise ResponseParserError("what came is no listing of a bucket")
        return page

    def _patiently(self, call: Callable[[], T]) -> T:
        for failures in itertools.count(1):
            try:
                return call()
            except Exception as error:  # as above
                if failures >= TRIES or not may_pass(error):
                    raise explain(error, self._folder) from error
            self._wait(BACKOFF.wait_s(failures - 1))
        raise AssertionError  # it counts without end


def _check_end(entry: Entry, here: int) -> None:
    if here != entry.size:
        raise ConnectionError(f"{entry.path} ended after {here} of {entry.size} bytes")
