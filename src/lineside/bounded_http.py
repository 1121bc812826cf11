"""Bounds that uvicorn lacks: a head's size and time, the number of connections, the time to take an answer.

Without them one client could fill the memory with an endless head, or use up all connections with idle ones. Where
there are too many, the one is closed that has gone longest without an answer, first those that never sent a whole
request; one whose request is being handled is never closed.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

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
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.answered_at: float | None = None
        self.opened_at = self.loop.time()
        self._cuts = cuts
        self._max_connections = max_connections
        self._is_in_head = False
        self._head_bytes = self._head_fields = 0
        self._is_too_large = False
        self._beside_body = 0  # bytes since the parser last gave something of use
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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; what is no body is bounded."""
        if self.transport.is_closing():
            return
        self._beside_body += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._beside_body > HEAD_BYTES:
            self._refuse_head()
        elif self._is_in_head or self._is_between:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._is_in_head = True
        self._head_bytes = self._head_fields = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it; trailers come here too."""
        self._head_fields += 1
        self._count(len(name) + len(value) + 4)  # `: ` and the line's end
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request in."""
        self._is_in_head = False
        self._beside_body = 0
        self._head_is_in()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the body's end."""
        self._beside_body = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note when it was."""
        self.answered_at = self.loop.time()
        super().on_response_complete()

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


def _worth(one: BoundedHttp) -> tuple[bool, float]:
    """Return how much a connection is worth: one that was answered before more than one that was not, then by when."""
    return (one.answered_at is not None, one.answered_at if one.answered_at is not None else one.opened_at)
