"""Destination S3: a bucket, of AWS or of a store that speaks its protocol.

The objects of a batch first, four at once, then the file with the lines, which names them as `s3://bucket/key`. Keys
come from the captures' ids, so a repetition writes the same bytes to the same keys.
"""

import asyncio
import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from functools import partial

from lineside.secrecy import hidden
from lineside.spool import StoredBlob
from lineside_forwarder.destination import LINES_TYPE, BatchUpload, BlobSource
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.s3_client import Clients, endpoint, log, warn_of_leftovers
from lineside_forwarder.s3_errors import explain, is_stale
from lineside_forwarder.s3_sending import Abandoned, Meter, run_metered
from lineside_forwarder.s3_upload import Content, Uploads
from lineside_forwarder.settings import S3Settings

AT_ONCE = 4
"""Objects of one batch that are sent at once."""


class S3Destination:
    """A bucket that evidence goes to."""

    def __init__(self, settings: S3Settings) -> None:
        self.name = settings.name
        self._endpoint = endpoint(settings)
        self.target = hidden(f"s3://{settings.bucket}" + (f" at {self._endpoint}" if self._endpoint else ""))
        self._bucket = settings.bucket
        self._clients = Clients(settings)
        self._is_well = False
        """Whether the last batch arrived; else one object at a time tries whether the next does."""
        self._uploads = Uploads(settings, by_sha256=self._endpoint is None)

    async def start(self) -> None:
        """Warn of what will not go as people expect; nothing is asked of the network yet."""
        warn_of_leftovers()
        if self._endpoint and self._endpoint.startswith("http:"):
            log.warning("evidence goes to the store without TLS", destination=self.name, target=self.target)

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        """Return when the bucket has the whole batch; raises ForwarderError."""
        addresses: dict[str, str | None] = {}
        objects = upload.objects()
        failures: list[Exception] = []
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE if self._is_well else 1):
                    group.create_task(self._send_objects(objects, addresses, blobs, limiter))
        except* Exception as several:  # noqa: BLE001 - one of them is raised just below
            failures.extend(several.exceptions)
        if failures:
            self._is_well = False
            raise failures[0]
        lines = upload.jsonl(addresses)
        content = Content(io.BytesIO(lines), len(lines), hashlib.sha256(lines).digest(), LINES_TYPE)
        await run_metered(partial(self._send, upload.path, content), limiter, f"s3 {self.name}")
        self._is_well = True

    async def close(self) -> None:
        """Close idle connections; a transfer that was abandoned ends by itself."""
        await asyncio.to_thread(self._clients.close)

    async def _send_objects(
        self,
        objects: Iterator[tuple[str, StoredBlob]],
        addresses: dict[str, str | None],
        blobs: BlobSource,
        limiter: RateLimiter,
    ) -> None:
        """Send one object after the other until none is left; some of these share the iterator."""
        for path, blob in objects:
            addresses[path] = None
            file = await blobs.open(blob)
            if file is None:
                continue
            content = Content(file, blob.size, blob.digest, blob.content_type)
            await run_metered(partial(self._send, path, content), limiter, f"s3 {self.name}")
            addresses[path] = f"s3://{self._bucket}/{path}"

    def _send(self, key: str, content: Content, meter: Meter) -> None:
        """Send an object, in a thread. Credentials that are refused are asked for anew once, at once."""
        with closing(content.file):
            try:
                client = self._clients.get()
                try:
                    self._uploads.put(client, key, content, meter)
                except Exception as error:
                    if not is_stale(error):
                        raise
                    self._clients.drop(client)
                    client = self._clients.get()
                    self._uploads.put(client, key, content, meter)
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, the evidence stays here and it is shown
                if is_stale(error):
                    self._clients.drop(client)
                raise explain(error, self._bucket) from None
