"""One connection to Stream Manager: requests under way at the same time, each with its answer.

StreamManagerError   base
+-- Lost             the connection cannot be made, broke, or says nothing: all that wait on it end with this
+-- Refused          the answer is an error; `code` says which
"""

import asyncio
import contextlib
import itertools
import uuid
from dataclasses import dataclass
from typing import Any

import structlog

from lineside import __version__
from lineside_forwarder.stream_manager import wire
from lineside_forwarder.stream_manager.wire import Code, Operation

log = structlog.get_logger("lineside.forwarder.stream_manager")

CONNECT_S = 5.0
ANSWER_S = 60.0
"""Longest wait for an answer; after it the connection counts as broken."""


class StreamManagerError(Exception):
    """Stream Manager did not do what was asked."""


class Lost(StreamManagerError):
    """There is no connection, or no longer."""


class Refused(StreamManagerError):
    """Stream Manager answered with an error; `code` is one of wire.Code, or a number that is not known here."""

    def __init__(self, code: int, message: str) -> None:
        name = Code(code).name if code in Code.__members__.values() else str(code)
        super().__init__(f"{name}: {message}" if message else name)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a stream; `sequence` counts from 0 in each stream."""

    sequence: int
    payload: bytes


class Client:
    """A connection that was accepted. Made by `connect`; every method raises Lost or Refused."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._sending = asyncio.Lock()
        self._numbers = itertools.count()
        self._prefix = uuid.uuid4().hex
        self._waiting: dict[str, tuple[int, asyncio.Future[dict[str, Any]]]] = {}
        self._lost: str | None = None
        self._listener: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, host: str, port: int, token: str | None) -> "Client":
        """Connect and be accepted; `token` is what Greengrass gave this component to show."""
        try:
            async with asyncio.timeout(CONNECT_S):
                reader, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise Lost(f"no connection to {host}:{port} within {CONNECT_S:g} s") from None
        except OSError as error:
            raise Lost(f"no connection to {host}:{port}: {error.strerror or error}") from None
        client = cls(reader, writer)
        try:
            await client._introduce(token)
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def is_lost(self) -> bool:
        """Whether the connection is over."""
        return self._lost is not None

    async def create(self, definition: dict[str, Any]) -> None:
        """Create a stream; INVALID_REQUEST where it is there already."""
        await self._call(Operation.CREATE, {"definition": definition})

    async def update(self, definition: dict[str, Any]) -> None:
        """Change a stream's definition."""
        await self._call(Operation.UPDATE, {"definition": definition})

    async def describe(self, stream: str) -> dict[str, Any]:
        """Return a stream's `messageStreamInfo`; RESOURCE_NOT_FOUND where there is none."""
        answer = await self._call(Operation.DESCRIBE, {"name": stream})
        info = answer.get("messageStreamInfo")
        return info if isinstance(info, dict) else {}

    async def append(self, stream: str, payload: bytes) -> int:
        """Append a message and return its sequence number."""
        answer = await self._call(Operation.APPEND, {"name": stream, "payload": payload})
        sequence = answer.get("sequenceNumber")
        if not isinstance(sequence, int):
            raise self._broken(f"an append was answered without a number: {answer!r:.200}")
        return sequence

    async def read(self, stream: str, start: int, max_messages: int) -> list[Message]:
        """Return the messages from `start` on, in order, at most `max_messages`; none where there are none yet."""
        options = {
            "desiredStartSequenceNumber": start,
            "minMessageCount": 1,
            "maxMessageCount": max_messages,
            "readTimeoutMillis": 0,
        }
        try:
            answer = await self._call(Operation.READ, {"streamName": stream, "readMessagesOptions": options})
        except Refused as error:
            if error.code == Code.NOT_ENOUGH_MESSAGES:
                return []
            raise
        try:
            return [Message(int(one["sequenceNumber"]), bytes(one["payload"])) for one in answer.get("messages") or []]
        except (KeyError, TypeError, ValueError):
            raise self._broken("messages were read that are none") from None

    async def close(self) -> None:
        """End the connection and all that wait on it."""
        self._end("closed here")
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CONNECT_S):
                await self._writer.wait_closed()

    async def _introduce(self, token: str | None) -> None:
        request = {
            "requestId": f"{self._prefix}-connect",
            "protocolVersion": wire.PROTOCOL,
            "otherSupportedProtocolVersions": wire.OLDER_PROTOCOLS,
            "sdkVersion": f"lineside-{__version__}",
        }
        if token is not None:
            request["authToken"] = token
        try:
            async with asyncio.timeout(CONNECT_S):
                self._writer.write(wire.CONNECT_VERSION + wire.encode(Operation.CONNECT, request))
                version = await self._reader.readexactly(1)
                if version != wire.CONNECT_VERSION:
                    raise Refused(Code.UNSUPPORTED_CONNECT_VERSION, f"connect version {version[0]}")
                operation, answer = await wire.read_frame(self._reader)
        except TimeoutError:
            raise Lost(f"it did not accept the connection within {CONNECT_S:g} s") from None
        except (OSError, asyncio.IncompleteReadError):
            raise Lost("it ended the connection instead of accepting it, as it may where the token is wrong") from None
        except wire.WireError as error:
            raise Lost(f"what listens there does not speak its protocol: {error}") from None
        if operation != Operation.CONNECTED:
            raise Lost(f"what listens there answers a connect with operation {operation}")
        _raise_refusal(answer)
        self._listener = asyncio.create_task(self._listen(), name="stream manager answers")

    async def _call(self, operation: Operation, body: dict[str, Any]) -> dict[str, Any]:
        if self._lost is not None:
            raise Lost(self._lost)
        number = f"{self._prefix}-{next(self._numbers)}"
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = _ANSWERS[operation], future
        try:
            async with asyncio.timeout(ANSWER_S):
                async with self._sending:
                    self._writer.write(wire.encode(operation, {"requestId": number, **body}))
                    await self._writer.drain()
                answer = await future
        except TimeoutError:
            raise self._broken(f"no answer within {ANSWER_S:g} s") from None
        except OSError as error:
            raise self._broken(f"the connection broke: {error}") from None
        finally:
            del self._waiting[number]
            if future.done() and not future.cancelled():
                future.exception()  # Seen, also where it came while the request was still being sent.
        _raise_refusal(answer)
        return answer

    async def _listen(self) -> None:
        try:
            while True:
                self._take(*await wire.read_frame(self._reader))
        except asyncio.IncompleteReadError:
            self._end("it ended the connection")
        except OSError as error:
            self._end(f"the connection broke: {error}")
        except wire.WireError as error:
            self._end(f"it sent {error}")

    def _take(self, operation: int, body: dict[str, Any]) -> None:
        expected, future = self._waiting.get(str(body.get("requestId")), (None, None))
        if future is None:
            log.debug("an answer that nobody waits for", operation=operation)
        elif operation not in {expected, Operation.UNKNOWN_OPERATION}:
            raise wire.WireError(f"operation {operation} as the answer, not {expected}")
        elif not future.done():
            future.set_result(body)

    def _broken(self, reason: str) -> Lost:
        self._end(reason)
        return Lost(reason)

    def _end(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        for _expected, future in self._waiting.values():
            if not future.done():
                future.set_exception(Lost(self._lost))
        self._writer.close()


_ANSWERS = {
    Operation.CREATE: Operation.CREATED,
    Operation.UPDATE: Operation.UPDATED,
    Operation.DESCRIBE: Operation.DESCRIBED,
    Operation.APPEND: Operation.APPENDED,
    Operation.READ: Operation.MESSAGES,
}


def _raise_refusal(answer: dict[str, Any]) -> None:
    """Raise Refused unless the answer says SUCCESS."""
    code = answer.get("status")
    if code != Code.SUCCESS:
        raise Refused(code if isinstance(code, int) else Code.UNKNOWN_FAILURE, str(answer.get("errorMessage") or ""))
