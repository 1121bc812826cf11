"""The one caller of Triton: sends an inference, and does what the table of failures says of one that failed.

It waits for Triton while it is away, asks again what Triton lost, keeps a slot out of use while Triton may still write
into it, and all of it within the deadline. What may be asked again is an inference: it changes nothing in Triton, so
that one that ran and whose answer was lost may run twice. A step of a sequence does change its model's memory: where
its answer was lost it is not sent again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from grpc.aio import AioRpcError

from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.failures import kind_of, meaning, text_of
from lineside_inference.engine.link import TritonLink, describe
from lineside_inference.engine.message import InferMessage, Reply
from lineside_inference.errors import EngineFailed, EngineTimeout, EngineUnavailable, ModelUnknown, RequestError

log = structlog.get_logger("lineside.inference.engine")

_ATTEMPTS = 5

Build = Callable[[str | None], InferMessage]
"""Makes the request: with names and offsets in the region that is given, or with the bytes where that is None."""


class Target(Protocol):
    """The model that is asked; `wrong` is the error where Triton says that the request does not fit it."""

    name: str
    wrong: type[RequestError]

    async def available(self, deadline: Deadline) -> None:
        """Wait until it can be asked; raises EngineUnavailable."""

    def was_lost(self) -> None:
        """Take note that Triton lost a request, or does not have the model now."""

    async def missing(self, said: str, attempt: int, deadline: Deadline) -> None:
        """Return where a model that Triton does not have now may be asked again; raises RequestError."""


class TritonCaller:
    """Calls over one connection to Triton."""

    def __init__(self, link: TritonLink) -> None:
        self.link = link

    @property
    def is_shared(self) -> bool:
        """Whether Triton sees the slots' memory now."""
        return self.link.transport == "shared-memory"

    async def infer(self, target: Target, build: Build, slot: Slot | None, deadline: Deadline) -> Reply:
        """Run one request, whose tensors are in `slot` where there is one.

        Raises EngineUnavailable, EngineTimeout, EngineFailed, or what the target raises.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            await target.available(deadline)
            is_shared = slot is not None and slot.is_shared and self.is_shared
            message = build(self.link.region if is_shared else None)
            call = self.link.infer(message, None if is_shared else deadline.left())
            if is_shared and slot is not None:
                slot.keep_for(call)
            try:
                await asyncio.wait((call,), timeout=deadline.left())
            finally:
                if not call.done() and not is_shared:
                    call.cancel()
            if not call.done():
                raise EngineTimeout(f"Triton did not answer for model {target.name!r} in time")
            if call.cancelled():
                raise EngineUnavailable("the connection to Triton is being closed")
            error = call.exception()
            if error is None:
                return call.result()
            await self._judge(error, target, message, attempt, deadline)
        raise EngineUnavailable(f"Triton failed {_ATTEMPTS} times for model {target.name!r}")

    async def ask(self, method: str, message: Any) -> Any:
        """Make one call about the server or a model, none is made twice.

        Raises ModelUnknown, EngineUnavailable, EngineTimeout or EngineFailed.
        """
        if not self.link.online.is_set():
            raise self.away()
        try:
            return await getattr(self.link.stub, method)(message, timeout=self.link.settings.timeout_ms / 1000)
        except AioRpcError as error:
            if kind_of(error) == "model":
                raise ModelUnknown(text_of(error)) from None
            raise meaning(error, method) from None

    async def online(self, deadline: Deadline) -> None:
        """Wait until Triton can be asked; raises EngineUnavailable."""
        if self.link.online.is_set():
            return
        try:
            async with asyncio.timeout(deadline.left()):
                await self.link.online.wait()
        except TimeoutError:
            raise self.away() from None

    def away(self) -> EngineUnavailable:
        """Return the error of a call that cannot be made now."""
        state = self.link.state
        return EngineUnavailable(
            f"Triton at {self.link.settings.url} is away: {state.state} {state.detail}".rstrip(),
            remedy="See /readyz of the inference service and Triton's log",
        )

    async def _judge(
        self, error: BaseException, target: Target, message: InferMessage, attempt: int, deadline: Deadline
    ) -> None:
        """Return where the call may be made again, else raise what it means."""
        if not isinstance(error, AioRpcError):
            raise EngineFailed(f"the call to Triton failed: {error!r}") from error
        kind = kind_of(error)
        if kind == "region" and not self.link.has_lost(text_of(error)):
            kind = "wrong"  # memory that nobody registered here
        if kind == "model":  # the others' line goes on where only this one is not loaded
            await target.missing(text_of(error), attempt, deadline)
        elif kind in {"server", "region"}:
            target.was_lost()
            self.link.trouble(describe(error))
        if kind not in {"server", "region", "model"} or (kind == "server" and not message.is_repeatable):
            raise meaning(error, f"model {target.name!r}", wrong=target.wrong, kind=kind) from None
        log.warning(
            "triton lost a request; it is asked again", model=target.name, attempt=attempt, reason=describe(error)
        )
