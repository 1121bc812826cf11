"""Answers calls from the bytes of a request to those of its answer: within the bounds, with a code, and counted."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from prometheus_client import CollectorRegistry, Counter, Histogram

from lineside.contract import MAX_DEADLINE_MS
from lineside_inference.dataplane.admission import Admission, Body
from lineside_inference.deadline import Deadline
from lineside_inference.errors import MessageInvalid, Stopping
from lineside_inference.rpc.status_codes import UNFORESEEN, code_for, words_of
from lineside_inference.settings import LimitSettings

log = structlog.get_logger("lineside.inference.rpc")

_MEMORY = 3
"""Bytes of memory for each byte of a request: as it came, in the message, and where Triton reads it."""
_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

Status = tuple[grpc.StatusCode, str]


@dataclass(frozen=True, slots=True)
class Call:
    """What a call has beside its request: when it came, until when it is wanted, and its part of the memory.

    `is_clients` is whether the client gave the deadline.
    """

    arrived: float
    deadline: Deadline
    is_clients: bool
    body: Body


Answer = Callable[[bytes, Call], Awaitable[bytes]]
"""From a request's bytes to those of its answer."""


def status_of(error: Exception) -> Status:
    """Return the code and the words of an error."""
    return code_for(type(error)), words_of(error)


class Answering:
    """Makes the handlers of one face's calls; `face` is its word in metrics and log, `whose` who calls.

    `as_status` tells the status of an error.
    """

    def __init__(
        self,
        face: str,
        whose: str,
        *,
        gate: Admission,
        limits: LimitSettings,
        registry: CollectorRegistry,
        is_draining: Callable[[], bool],
        as_status: Callable[[Exception], Status] = status_of,
    ) -> None:
        self._face = face
        self._gate = gate
        self._default_s = limits.v2_deadline_ms / 1000
        self._is_draining = is_draining
        self._as_status = as_status
        self._counts = Counts(registry, face, whose)
        self._is_over = asyncio.Event()

    def close(self) -> None:
        """End the streams whose clients send nothing now."""
        self._is_over.set()

    def unary(self, name: str, answer: Answer, *, always: bool = False) -> grpc.RpcMethodHandler:
        """Return the handler of a call with one request and one answer; `always`: also while the service stops."""

        async def method(body: bytes, context: grpc.aio.ServicerContext) -> bytes:
            found, status = await self._run(name, answer, body, context, always=always)
            if status is not None:
                await context.abort(*status)
            return found

        # Without serializers the bytes come here as they are: what is no message is answered by us, too.
        return grpc.unary_unary_rpc_method_handler(method)

    def stream(self, name: str, answer: Answer, failed: Callable[[bytes, Status], bytes]) -> grpc.RpcMethodHandler:
        """Return the handler of a stream, whose requests are answered one after the other.

        `failed` makes the answer to one that failed; the stream goes on. It ends with UNAVAILABLE as the service stops.
        """

        async def method(_requests: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
            async with aclosing(self._bodies(context)) as bodies:
                async for body in bodies:
                    found, status = await self._run(name, answer, body, context)
                    yield failed(body, status) if status is not None else found
            if self._is_over.is_set():
                await context.abort(*self._as_status(_stopping()))

        return grpc.stream_stream_rpc_method_handler(method)

    async def _bodies(self, context: grpc.aio.ServicerContext) -> AsyncGenerator[bytes, None]:
        """Yield a stream's requests until its client or the service ends it."""
        over = asyncio.ensure_future(self._is_over.wait())
        try:
            while not self._is_over.is_set():
                coming = asyncio.ensure_future(context.read())
                try:
                    await asyncio.wait((coming, over), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not coming.done():
                        coming.cancel()
                if not coming.done() or (body := coming.result()) is grpc.aio.EOF:
                    return
                yield body
        finally:
            over.cancel()

    async def _run(
        self, name: str, answer: Answer, body: bytes, context: grpc.aio.ServicerContext, *, always: bool = False
    ) -> tuple[bytes, Status | None]:
        """Return an answer, or the status of what failed."""
        arrived = time.monotonic()
        found, status = b"", None
        try:
            with self._call(body, arrived, context.time_remaining(), always=always) as call:
                found = await answer(body, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a code and words
            status = self._as_status(error)
            self._tell(name, status, error)
        self._counts.answered(name, status[0] if status else grpc.StatusCode.OK, time.monotonic() - arrived)
        return found, status

    @contextmanager
    def _call(self, body: bytes, arrived: float, left_s: float | None, *, always: bool) -> Iterator[Call]:
        if self._is_draining() and not always:
            raise _stopping()
        with self._gate.bodies.one(_MEMORY) as counted:
            counted.grow(len(body))
            seconds = self._default_s if left_s is None else min(left_s, MAX_DEADLINE_MS / 1000)
            yield Call(arrived, Deadline(arrived + seconds), left_s is not None, counted)

    def _tell(self, call: str, status: Status, error: Exception) -> None:
        code, words = status
        if words == UNFORESEEN:
            log.error("a call failed in a way that nobody foresaw", face=self._face, call=call, exc_info=error)
        else:
            log.warning("refused", face=self._face, call=call, code=code.name, reason=words)


def read_message(kind: Any, body: bytes) -> Any:
    """Return the message that these bytes are; raises MessageInvalid."""
    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise MessageInvalid(f"the request is not a {kind.DESCRIPTOR.name}: {error}") from None


def _stopping() -> Stopping:
    return Stopping("the inference service is stopping", remedy="Ask again in a moment")


class Counts:
    """The counters of one face's calls."""

    def __init__(self, registry: CollectorRegistry, face: str, whose: str) -> None:
        self._calls = Counter(
            f"lineside_inference_{face}_calls_total",
            f"Calls of {whose}, by call and gRPC status code.",
            ["call", "code"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"lineside_inference_{face}_seconds",
            "Time from a call's request to its answer, of the good ones.",
            ["call"],
            buckets=_SECONDS,
            registry=registry,
        )

    def answered(self, call: str, code: grpc.StatusCode, seconds: float) -> None:
        """Count one call."""
        self._calls.labels(call, code.name).inc()
        if code is grpc.StatusCode.OK:
            self._seconds.labels(call).observe(seconds)
