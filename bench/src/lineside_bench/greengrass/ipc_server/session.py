"""One client's connection: CONNECT with its token, then a stream for each operation, answers and events on it.

Message types, flags and headers: aws-c-event-stream, `event_stream_rpc.h`. A client opens streams with rising numbers;
the end of one is a message with the flag TERMINATE_STREAM from either side.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from enum import IntEnum, IntFlag

from lineside_bench.greengrass.ipc_server.framing import Decoder, Frame, FrameError, Value, encode
from lineside_bench.greengrass.ipc_server.operations import NAMESPACE, STREAMING, Call, Hub, answer
from lineside_bench.greengrass.ipc_server.state import Component, Document, Refusal

log = logging.getLogger(__name__)

_READ_BYTES = 65536
_MAX_UNSENT_BYTES = 1024 * 1024
_SEND_S = 5.0
"""For so long a client may take nothing before it is dropped; lite: of its socket_server.c."""


class Type(IntEnum):
    """What a message is; the header `:message-type`."""

    APPLICATION_MESSAGE = 0
    APPLICATION_ERROR = 1
    PING = 2
    PING_RESPONSE = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class Flag(IntFlag):
    """The header `:message-flags`."""

    NONE = 0
    CONNECTION_ACCEPTED = 1
    TERMINATE_STREAM = 2


class Violation(Exception):
    """The client does not keep to the protocol; its connection ends."""


class Session:
    """One connection, from its first byte to its last."""

    def __init__(
        self,
        hub: Hub,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        admits: Callable[[Component | None], bool],
        flows: asyncio.Event,
    ) -> None:
        self._hub = hub
        self._reader = reader
        self._writer = writer
        self._admits = admits
        self._flows = flows
        self._streams: dict[int, _Stream] = {}
        self._newest = 0
        self._slow: asyncio.Task[None] | None = None
        self.component: Component | None = None

    async def run(self) -> None:
        """Serve until either side ends it."""
        decoder = Decoder(self._hub.core.manner.max_frame_bytes)
        try:
            while data := await self._reader.read(_READ_BYTES):
                for frame in decoder.feed(data):
                    await self._flows.wait()
                    self._take(frame)
        except (FrameError, Violation) as error:
            log.warning("connection of %s ends: %s", self.component.name if self.component else "nobody", error)
        except ConnectionError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """End the connection with all its streams."""
        for stream in list(self._streams.values()):
            stream.end()
        if self._slow is not None:
            self._slow.cancel()
        self._writer.close()

    def end_streams(self) -> None:
        """End every stream from our side; the connection stays."""
        for number in list(self._streams):
            self._streams.pop(number).end()
            self.send(Frame(_headers(Type.APPLICATION_MESSAGE, Flag.TERMINATE_STREAM, number)))

    def send(self, frame: Frame) -> None:
        """Send a message; one that is longer than the nucleus has room for is not sent."""
        data = encode(frame)
        if len(data) > self._hub.core.manner.max_sent_bytes:
            log.warning("a message of %d bytes does not fit and is not sent", len(data))
            return
        if not self._writer.is_closing():
            self._writer.write(data)
            if self._unsent() > _MAX_UNSENT_BYTES and (self._slow is None or self._slow.done()):
                self._slow = asyncio.get_running_loop().create_task(self._drop_slow(), name="slow client")

    def _unsent(self) -> int:
        return self._writer.transport.get_write_buffer_size()

    async def _drop_slow(self) -> None:
        await asyncio.sleep(_SEND_S)
        if self._unsent() > _MAX_UNSENT_BYTES:
            log.warning("a client takes nothing; it is dropped")
            self._writer.transport.abort()

    def _take(self, frame: Frame) -> None:
        kind, flags, number = (_number(frame, name) for name in (":message-type", ":message-flags", ":stream-id"))
        if self.component is None:
            self._connect(frame, kind, number)
        elif kind == Type.PING:
            self.send(Frame(_headers(Type.PING_RESPONSE, Flag.NONE, 0), frame.payload))
        elif kind == Type.PING_RESPONSE:
            return
        elif kind != Type.APPLICATION_MESSAGE or number < 1:
            raise Violation(f"message of type {kind} on stream {number}")
        elif flags & Flag.TERMINATE_STREAM:
            if stream := self._streams.pop(number, None):
                stream.end()
        elif number in self._streams:
            return  # an event of the client: none of the operations has any
        else:
            self._begin(frame, number)

    def _connect(self, frame: Frame, kind: int, number: int) -> None:
        if kind != Type.CONNECT or number != 0 or frame.headers.get(":version") != "0.1.0":
            raise Violation("the first message is no CONNECT of version 0.1.0")
        token = _document(frame.payload).get("authToken")
        known = self._hub.core.known(token) if isinstance(token, str) else None
        if known is None or not self._admits(known):
            if self._hub.core.manner.plain_messages:  # the lite nucleus closes without a word
                self.send(Frame(_headers(Type.CONNECT_ACK, Flag.NONE, 0)))
            raise Violation("the token is nobody's, or is refused")
        self.component = known
        self.send(Frame(_headers(Type.CONNECT_ACK, Flag.CONNECTION_ACCEPTED, 0)))

    def _begin(self, frame: Frame, number: int) -> None:
        """Carry out the operation that opens a stream."""
        if number <= self._newest:
            raise Violation(f"stream {number} comes after {self._newest}")
        self._newest = number
        operation = frame.headers.get("operation")
        if not isinstance(operation, str) or self.component is None:
            raise Violation("a stream begins without an operation")
        stream = _Stream(self, number)
        try:
            call = Call(self._hub, self.component, operation, _document(frame.payload), stream)
            response = answer(call)
        except Refusal as refused:
            stream.end()
            self._refuse(number, refused)
            return
        is_open = operation in STREAMING
        flags = Flag.NONE if is_open or not self._hub.core.manner.terminates else Flag.TERMINATE_STREAM
        self.send(_message(number, f"{operation}Response", response, flags))
        if is_open:
            self._streams[number] = stream

    def _refuse(self, number: int, refused: Refusal) -> None:
        plain = self._hub.core.manner.plain_messages
        said = {"message": refused.text} if plain else {"_message": refused.text, "_errorCode": refused.shape}
        headers: dict[str, Value] = {
            **_headers(Type.APPLICATION_ERROR, Flag.TERMINATE_STREAM, number),
            ":content-type": "application/json",
            "service-model-type": f"{NAMESPACE}{refused.shape}",
        }
        self.send(Frame(headers, json.dumps(said).encode()))


class _Stream:
    """One operation's stream."""

    def __init__(self, session: Session, number: int) -> None:
        self._session = session
        self._number = number
        self._undo: list[Callable[[], None]] = []

    def event(self, shape: str, document: Document) -> None:
        """Send an event."""
        self._session.send(_message(self._number, f"{NAMESPACE}{shape}", document, Flag.NONE))

    def at_end(self, undo: Callable[[], None]) -> None:
        """Have this called at the end."""
        self._undo.append(undo)

    def end(self) -> None:
        """Undo what was begun."""
        while self._undo:
            self._undo.pop()()


def _message(number: int, shape: str, document: Document, flags: Flag) -> Frame:
    headers: dict[str, Value] = {
        **_headers(Type.APPLICATION_MESSAGE, flags, number),
        ":content-type": "application/json",
        "service-model-type": shape,
    }
    return Frame(headers, json.dumps(document).encode())


def _headers(kind: Type, flags: Flag, number: int) -> dict[str, int]:
    return {":message-type": int(kind), ":message-flags": int(flags), ":stream-id": number}


def _number(frame: Frame, name: str) -> int:
    value = frame.headers.get(name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise Violation(f"header {name} is missing or no number")
    return value


def _document(payload: bytes) -> Document:
    try:
        found = json.loads(payload or b"{}")
    except ValueError:
        raise Violation("a payload is not JSON") from None
    if not isinstance(found, dict):
        raise Violation("a payload is no JSON object")
    return found
