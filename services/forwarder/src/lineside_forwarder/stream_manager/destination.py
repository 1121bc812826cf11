"""A batch by way of Stream Manager: the objects first, and when S3 has them, the file with the lines."""

import asyncio
import io
import os
from functools import partial
from typing import BinaryIO

from lineside.threads import run_to_end
from lineside_forwarder.destination import BatchUpload, BlobSource
from lineside_forwarder.rate_limiter import RateLimiter
from lineside_forwarder.settings import StreamManagerSettings
from lineside_forwarder.stream_manager import tasks
from lineside_forwarder.stream_manager.client import StreamManagerError
from lineside_forwarder.stream_manager.exports import Exports
from lineside_forwarder.stream_manager.folder import Folder
from lineside_forwarder.stream_manager.inflight_limit import InflightLimit
from lineside_forwarder.stream_manager.session import Session

HOST = "127.0.0.1"
PORT = 8088
"""Where Stream Manager listens, unless STREAM_MANAGER_SERVER_PORT says another port."""
PORT_VARIABLE = "STREAM_MANAGER_SERVER_PORT"
TOKEN_VARIABLE = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - its name, not its value

_UNDER_WAY = 64
_AT_ONCE = 16


class StreamManagerDestination:
    """Greengrass' Stream Manager on this box.

    `max_silence_s` is how long it may say nothing of a file before the destination is shown as away.
    """

    def __init__(self, settings: StreamManagerSettings, *, max_silence_s: float = 120.0) -> None:
        self.name = settings.name
        self._port = settings.port or int(os.environ.get(PORT_VARIABLE) or PORT)
        self.target = f"stream {settings.stream} at {HOST}:{self._port}, for s3://{settings.bucket}"
        self._settings = settings
        self._folder = Folder(settings.path, settings.name)
        self._exports = Exports(
            self._folder,
            InflightLimit(_UNDER_WAY, settings.max_bytes),
            settings.bucket,
            f"{HOST}:{self._port}",
            max_silence_s,
        )
        self._opening = asyncio.Lock()
        self._session: Session | None = None

    async def start(self) -> None:
        """Do nothing: `deliver` connects."""

    async def deliver(self, upload: BatchUpload, blobs: BlobSource, limiter: RateLimiter) -> None:
        """Return when S3 has all of it, as Stream Manager says. Raises ForwarderError."""
        session = await self._opened()
        bucket = self._settings.bucket
        addresses: dict[str, str | None] = {}
        pending = upload.objects()

        async def work() -> None:
            for key, blob in pending:
                is_there = await self._exports.export(session, key, blob.size, partial(blobs.open, blob), limiter)
                addresses[key] = f"s3://{bucket}/{key}" if is_there else None

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_AT_ONCE):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        lines = upload.jsonl(addresses)

        async def opened_lines() -> BinaryIO:
            return io.BytesIO(lines)

        await self._exports.export(session, upload.path, len(lines), opened_lines, limiter)
        self._exports.forget([*addresses, upload.path])

    async def close(self) -> None:
        """Give up what is under way, and remove the files; it is all in the spool."""
        await self._exports.close()
        if self._session is not None:
            await self._session.close()
        await run_to_end(self._folder.close)

    async def _opened(self) -> Session:
        """Return the session, opening one where there is none that works; the folder is there then too."""
        async with self._opening:
            await run_to_end(self._folder.begin)
            if self._session is None or self._session.is_lost:
                if self._session is not None:
                    await self._session.close()
                    self._session = None
                try:
                    self._session = await Session.open(
                        HOST, self._port, os.environ.get(TOKEN_VARIABLE), self._settings.stream
                    )
                except StreamManagerError as error:
                    raise tasks.trouble(error, f"{HOST}:{self._port}") from None
            return self._session
