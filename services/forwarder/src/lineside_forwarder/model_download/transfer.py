"""Asks S3 for a folder's files; what is cut off is asked for again from where it ended."""

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from botocore.parsers import ResponseParserError

from lineside.greengrass.model_uri import S3Folder
from lineside.s3_download import BACKOFF, TRIES, RemoteObject, fetch, may_pass
from lineside_forwarder.model_download.failures import explain
from lineside_forwarder.model_download.listing import Entry

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")


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
        wanted = RemoteObject(self._folder.bucket, self._folder.prefix + entry.path, entry.size, entry.etag)
        try:
            fetch(self._client, wanted, _OfEntry(sink, entry), self._wait)
        except Exception as error:  # botocore, urllib3 and sockets each have their own
            raise explain(error, self._folder) from error

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


class _OfEntry:
    """A sink that knows which file it gets."""

    def __init__(self, sink: Sink, entry: Entry) -> None:
        self._sink = sink
        self._entry = entry
        self.write = sink.write

    def begin(self) -> int:
        """Return how many bytes of this content are there already."""
        return self._sink.begin(self._entry)
