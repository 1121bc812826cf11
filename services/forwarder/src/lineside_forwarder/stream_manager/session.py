"""A connection with its streams in place, whose status stream is followed while a task waits for its end.

Whatever goes wrong ends the session, and all that wait on it; the next delivery opens another and appends its tasks
again, which changes nothing at S3. So every error is handled in one way, and no position in the status
stream is kept: status messages of earlier sessions are recognized by their files, which are not ours.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from lineside.backoff import Backoff
from lineside_forwarder.errors import NotAllowed
from lineside_forwarder.stream_manager import tasks
from lineside_forwarder.stream_manager.client import Client, Lost, Refused, StreamManagerError
from lineside_forwarder.stream_manager.tasks import Status, StatusMessage
from lineside_forwarder.stream_manager.wire import Code

_POLLING = Backoff(first_s=0.02, longest_s=2.0)
"""Waits between reads that find nothing."""
_AT_ONCE = 100


class Session:
    """A connection on which tasks are appended; made by `open`. Methods raise StreamManagerError."""

    def __init__(self, client: Client, stream: str, status_stream: str, newest: int) -> None:
        self._client = client
        self._stream = stream
        self._status_stream = status_stream
        # The newest message is read once more: of an empty stream we do not know whether its newest is 0 or -1.
        self._next = max(0, newest)
        self._missed_above = newest + 1
        self._waiting: dict[str, tuple[asyncio.Future[StatusMessage], Callable[[StatusMessage], None]]] = {}
        self._has_more = asyncio.Event()
        self._follower = asyncio.create_task(self._follow(), name="stream manager status")

    @classmethod
    async def open(cls, host: str, port: int, token: str | None, stream: str) -> "Session":
        """Connect, and make the streams or correct their definitions.

        Raises NotAllowed where the stream is somebody else's.
        """
        client = await Client.connect(host, port, token)
        try:
            for definition in tasks.definitions(stream):
                await _prepare(client, definition)
            status_stream = tasks.status_stream(stream)
            newest = (await client.describe(status_stream)).get("storageStatus", {}).get("newestSequenceNumber")
        except BaseException:
            await client.close()
            raise
        return cls(client, stream, status_stream, newest if isinstance(newest, int) else -1)

    @property
    def is_lost(self) -> bool:
        """Whether it is over."""
        return self._follower.done() or self._client.is_lost

    async def append(
        self, url: str, message: bytes, on_status: Callable[[StatusMessage], None]
    ) -> tuple[int, asyncio.Future[StatusMessage]]:
        """Append a task; return its sequence number and a future of its final status. `on_status` gets those before."""
        last: asyncio.Future[StatusMessage] = asyncio.get_running_loop().create_future()
        self._waiting[url] = last, on_status
        last.add_done_callback(lambda _last: self._waiting.pop(url, None))
        try:
            sequence = await self._client.append(self._stream, message)
        except BaseException:
            last.cancel()
            raise
        if self._follower.done():
            last.cancel()
            raise Lost("the session ended")
        self._has_more.set()
        return sequence, last

    async def describe(self) -> dict[str, Any]:
        """Return the `messageStreamInfo` of the stream with the tasks."""
        return await self._client.describe(self._stream)

    async def close(self) -> None:
        """End it, and all that wait on it."""
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        await self._client.close()

    async def _follow(self) -> None:
        reason: StreamManagerError = Lost("closed here")
        try:
            await self._read_on()
        except StreamManagerError as error:
            reason = error
        finally:
            for last, _on_status in list(self._waiting.values()):
                if not last.done():
                    last.set_exception(reason)
                    last.exception()  # Retrieved, also where nothing awaits it any more.

    async def _read_on(self) -> None:
        empty = 0
        while True:
            if not self._waiting:
                self._has_more.clear()
                await self._has_more.wait()
            messages = await self._client.read(self._status_stream, self._next, _AT_ONCE)
            if messages:
                if messages[0].sequence > max(self._next, self._missed_above):
                    raise Lost("statuses of exports were overwritten before they were read")
                self._next = messages[-1].sequence + 1
                for message in messages:
                    self._take(tasks.parse_status(message.payload))
                empty = 0
                continue
            # Polled: a read that waits at the server may delay the appends behind it.
            self._has_more.clear()
            try:
                async with asyncio.timeout(_POLLING.wait_s(empty)):
                    await self._has_more.wait()
                empty = 0
            except TimeoutError:
                empty += 1

    def _take(self, status: StatusMessage | None) -> None:
        if status is None or status.url not in self._waiting:
            return
        last, on_status = self._waiting[status.url]
        if status.status in {Status.SUCCESS, Status.FAILURE, Status.CANCELED}:
            if not last.done():
                last.set_result(status)
        else:
            on_status(status)


async def _prepare(client: Client, definition: dict[str, Any]) -> None:
    """Make a stream, or bring its definition to what is wanted."""
    name = definition["name"]
    try:
        found = (await client.describe(name)).get("definition") or {}
    except Refused as error:
        if error.code != Code.RESOURCE_NOT_FOUND:
            raise
        await client.create(definition)
        return
    if tasks.is_someone_elses(found):
        raise NotAllowed(
            f"stream {name!r} of Stream Manager exports for somebody else",
            reason="stream",
            remedy="Give another `stream`",
        )
    if tasks.agrees(found, definition):
        return
    try:
        await client.update(definition)
    except Refused as error:
        if error.code not in {Code.UPDATE_NOT_ALLOWED, Code.UPDATE_FAILED, Code.INVALID_REQUEST}:
            raise
        raise NotAllowed(
            f"stream {name!r} of Stream Manager has another definition, and cannot be changed: {error}",
            reason="stream",
            remedy="Delete that stream, or give another `stream`",
        ) from None
