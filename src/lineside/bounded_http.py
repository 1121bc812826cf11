"""Bounds that uvicorn lacks: a head's size and time, the number of connections, the time to take an answer.

Without them one client could fill the memory with an endless head, or use up all connections with idle ones. Where
there are too many, the one is closed that has gone longest without an answer, first those that never sent a whole
request; one whose request is being handled is never closed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import httptools
import structlog
from prometheus_client import CollectorRegistry, Counter
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from lineside.buffered_http import DIRECT_BODY, LARGE_BODY, BufferedConnection, JoinedWrites

log = structlog.get_logger("lineside.service")

HEAD_BYTES = 32 * 1024
"""Most bytes of a request line and its header fields; also of trailers, and of whatever else is no body."""
HEAD_FIELDS = 128
HEAD_S = 10.0
"""Longest wait for a whole head, from the connection's start or the head's first byte."""
ANSWER_S = 30.0
"""Longest time for which a client may take nothing of its answer."""
MAX_CONNECTIONS = 512
_LOG_EVERY_S = 60.0


class _TooLarge(Exception):
    """The head is above its bounds."""


class Cuts:
    """Counts the connections that were cut, and says so in the log once a minute at most."""

    def __init__(self, prefix: str, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._counter = Counter(
            f"{prefix}_http_connections_cut_total",
            "HTTP connections cut: head-late, head-too-large, answer-not-taken, or crowded (too many of them).",
            ["why"],
            registry=registry,
        )
        self._clock = clock
        self._said: dict[str, tuple[float, int]] = {}

    def count(self, why: str, client: str) -> None:
        """Count one."""
        self._counter.labels(why).inc()
        since, unsaid = self._said.get(why, (-_LOG_EVERY_S, 0))
        if (now := self._clock()) - since < _LOG_EVERY_S:
            self._said[why] = since, unsaid + 1
            return
        log.warning("an HTTP connection was cut", why=why, client=client, others_since_last_said=unsaid)
        self._said[why] = now, 0


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        cuts: Cuts,
        max_connections: int = MAX_CONNECTIONS,
        direct_below: bytes = b"",
    ) -> None:
        """Take what uvicorn gives; large bodies below the path `direct_below` wait for their handlers to read them."""
        super().__init__(config, server_state, app_state, _loop)
        self.answered_at: float | None = None
        self.opened_at = self.loop.time()
        self._cuts = cuts
        self._max_connections = max_connections
        self._is_in_head = False
        self._head_bytes = self._head_fields = 0
        self._is_too_large = False
        self._beside_body = 0  # bytes since the parser last gave something of use
        self.wanted: memoryview | None = None
        """Where the next bytes of the body go, while a handler reads it into memory of its own."""
        self._is_body_new = False  # whether its handler could not ask for it yet
        self._direct_below = direct_below
        self._body_left = 0  # bytes of a body of known length that were not read yet
        self._parts: list[memoryview] = []  # what is to be filled behind `wanted`
        self._is_filled: asyncio.Future[None] | None = None
        self._is_out_of_step = False  # a body was given up in the middle
        self._head_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether a whole request is here and its answer is not yet out."""
        return not self._is_between and not self.cycle.more_body

    @property
    def _is_between(self) -> bool:
        """Whether there was no request yet, or the last one is answered."""
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def cut(self, why: str) -> None:
        """End the connection at once."""
        self._cuts.count(why, self._who())
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Accept the connection; where there are too many, close the one of least worth."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self._max_connections:
            others = (one for one in self.connections if isinstance(one, BoundedHttp) and not one.is_at_work)
            least = min(others, key=_worth)  # this one at least is there
            self.connections.discard(least)
            least.cut("crowded")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._head_is_in()
        self._answer_is_taken()
        if self._is_filled is not None and not self._is_filled.done():
            self._is_filled.set_exception(ConnectionResetError("the client went away"))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what is no body is bounded."""
        if self._is_out_of_step or self.transport.is_closing():
            return
        self._beside_body += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_body_new and self._body_left > LARGE_BODY:
            self._is_body_new = False
            self.flow.pause_reading()  # until the handler asks, who may have a place for it
        if self._beside_body > HEAD_BYTES:
            self._refuse_head()
        elif self._is_in_head or self._is_between:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_in_head = True
        self._head_bytes = self._head_fields = self._body_left = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it; trailers come here too."""
        self._head_fields += 1
        self._count(len(name) + len(value) + 4)  # `: ` and the line's end
        if self._is_in_head and name.lower() == b"content-length" and value.isdigit():
            self._body_left = int(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request in."""
        self._is_in_head = False
        self._beside_body = 0
        self._head_is_in()
        is_below = self._direct_below and self.url.startswith(self._direct_below)
        self._is_body_new = bool(is_below) and self._body_left > LARGE_BODY
        if self._is_body_new:
            self.scope["extensions"] = {DIRECT_BODY: self}  # type: ignore[dict-item]  # not one of ASGI's own
        super().on_headers_complete()
        self.cycle.transport = JoinedWrites(self.cycle)  # type: ignore[assignment]  # all that a cycle does with it

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._beside_body = 0
        self._body_left -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the body's end."""
        self._beside_body = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note when it was."""
        self.answered_at = self.loop.time()
        super().on_response_complete()

    @property
    def is_in_body(self) -> bool:
        """Whether the next bytes are a body's."""
        return not self._is_between and self.cycle.more_body

    def left(self, scope: Scope) -> int:
        """Return the bytes of the body that were not received; as of DirectBody."""
        is_mine = self.cycle.scope is scope and self.cycle.more_body
        return self._body_left + len(self.cycle.body) if is_mine else 0

    async def read_rest(self, parts: Sequence[memoryview]) -> None:
        """Fill the parts with the rest of the body; as of DirectBody."""
        cycle = self.cycle
        if sum(map(len, parts)) != self._body_left + len(cycle.body) or not self._body_left:
            raise ValueError("the parts do not hold exactly what is left")
        if self.transport.is_closing():
            raise ConnectionResetError("the client went away")
        self._parts = [part for part in reversed(parts) if len(part)]
        self.wanted = self._parts.pop()
        waiting, cycle.body = memoryview(cycle.body), bytearray()
        while waiting:
            size = min(len(waiting), len(self.wanted))
            self.wanted[:size] = waiting[:size]
            self._put(size)
            waiting = waiting[size:]
        self._is_filled = is_filled = self.loop.create_future()
        self.flow.resume_reading()
        try:
            await is_filled
        finally:
            self._is_filled = None
            if is_filled.cancelled():
                self.wanted = None
                self._is_out_of_step, cycle.keep_alive = True, False

    def came(self, size: int) -> None:
        """Take note of so many bytes of the body."""
        self._body_left -= size
        self._put(size)
        if self._body_left:
            return
        # The parser saw nothing of it, and would wait for it: the next message is another one's.
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it
        self.cycle.more_body = False
        self.cycle.message_event.set()
        if self._is_filled is not None and not self._is_filled.done():
            self._is_filled.set_result(None)

    def _put(self, size: int) -> None:
        """Go on behind so many bytes that are in `wanted` now."""
        if self.wanted is not None and size < len(self.wanted):
            self.wanted = self.wanted[size:]
        else:
            self.wanted = self._parts.pop() if self._parts else None

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read; a head above its bounds by 431."""
        if self._is_too_large:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client does not take its answer: for so long and no longer."""
        super().pause_writing()
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(ANSWER_S, self.cut, "answer-not-taken")

    def resume_writing(self) -> None:
        """The client goes on."""
        self._answer_is_taken()
        super().resume_writing()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES or self._head_fields > HEAD_FIELDS:
            self._is_too_large = True
            raise _TooLarge  # httptools makes a parser's error of it

    def _refuse_head(self) -> None:
        self._cuts.count("head-too-large", self._who())
        self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _who(self) -> str:
        return ":".join(map(str, self.client or ("unknown",)))

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self.cut, "head-late")

    def _head_is_in(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _answer_is_taken(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None


def make_connection(
    config: Config, server_state: ServerState, app_state: dict[str, Any], **given: Any
) -> BufferedConnection:
    """Return a connection as the transport sees it; `given` as of BoundedHttp."""
    return BufferedConnection(BoundedHttp(config, server_state, app_state, **given))


def _worth(one: BoundedHttp) -> tuple[bool, float]:
    """Return how much a connection is worth: one that was answered before more than one that was not, then by when."""
    return (one.answered_at is not None, one.answered_at if one.answered_at is not None else one.opened_at)
