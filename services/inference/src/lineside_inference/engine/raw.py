"""Any model of the server, called with tensors as a client gives them: the engine's side of the v2 protocol.

It shares the engine's connection, region and slots, and its rules: wait for Triton while it is away, ask again what
it lost, keep a slot out of use while Triton may still write into it, and all of it within the deadline.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import structlog
from tritonclient.grpc import service_pb2 as pb

from lineside_inference.deadline import Deadline
from lineside_inference.engine.arena import Slot
from lineside_inference.engine.failures import kind_of, meaning, text_of
from lineside_inference.engine.link import TritonLink, describe
from lineside_inference.errors import EngineFailed, EngineRefused, EngineTimeout, EngineUnavailable, ModelUnknown

log = structlog.get_logger("lineside.inference.raw")

_ATTEMPTS = 5
_PAUSE_S = 0.05
_LOADING_S = 5.0

Build = Callable[[str | None], pb.ModelInferRequest]
"""Makes the request: with names and offsets in the region that is given, or with the bytes where that is None."""


class RawEngine:
    """Calls to the server that no model card stands behind."""

    def __init__(self, link: TritonLink) -> None:
        self.link = link

    @property
    def is_shared(self) -> bool:
        """Whether Triton sees the slots' memory now."""
        return self.link.transport == "shared-memory"

    async def infer(self, build: Build, slot: Slot | None, deadline: Deadline) -> pb.ModelInferResponse:
        """Run one request, whose tensors are in `slot` where there is one.

        Raises ModelUnknown, EngineRefused, EngineUnavailable, EngineTimeout or EngineFailed.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            await self._online(deadline)
            shares = slot is not None and self.is_shared
            request = build(self.link.region if shares else None)
            call = asyncio.ensure_future(self.link.infer(request, timeout=None if shares else deadline.left()))
            if shares and slot is not None:
                slot.keep_for(call)
            try:
                await asyncio.wait((call,), timeout=deadline.left())
            finally:
                if not call.done() and not shares:
                    call.cancel()
            if not call.done():
                raise EngineTimeout(f"Triton did not answer for model {request.model_name!r} in time")
            if call.cancelled():
                raise EngineUnavailable("the connection to Triton is being closed")
            error = call.exception()
            if error is None:
                response: pb.ModelInferResponse = call.result()
                return response
            await self._judge(error, request, attempt, deadline)
        raise EngineUnavailable(f"Triton failed {_ATTEMPTS} times for one request")

    async def ask(self, method: str, message: Any) -> Any:
        """Make one call about the server or a model; errors as of `infer`, none is made twice."""
        timeout_s = self.link.settings.timeout_ms / 1000
        if not self.link.online.is_set():
            raise self._away()
        try:
            return await self._call(method, message, timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise ModelUnknown(text_of(error)) from None
            raise _meaning(error, method) from None

    async def _call(self, method: str, message: Any, timeout_s: float | None) -> Any:
        return await getattr(self.link.stub, method)(message, timeout=timeout_s)

    async def _online(self, deadline: Deadline) -> None:
        if self.link.online.is_set():
            return
        try:
            async with asyncio.timeout(deadline.left()):
                await self.link.online.wait()
        except TimeoutError:
            raise self._away() from None

    def _away(self) -> EngineUnavailable:
        state = self.link.state
        return EngineUnavailable(
            f"Triton at {self.link.settings.url} is away: {state.state} {state.detail}".rstrip(),
            remedy="See /readyz of the inference service and Triton's log",
        )

    async def _judge(
        self, error: BaseException, request: pb.ModelInferRequest, attempt: int, deadline: Deadline
    ) -> None:
        """Return where the call may be made again, else raise what it means."""
        if not isinstance(error, grpc.aio.AioRpcError):
            raise EngineFailed(f"the call to Triton failed: {error!r}") from error
        kind = kind_of(error)
        if kind == "model":
            await self._missing(request, text_of(error), attempt, deadline)
            return
        if kind not in {"server", "region"}:
            raise _meaning(error, f"model {request.model_name!r}") from None
        log.warning("triton lost a v2 request; it is asked again", attempt=attempt, reason=describe(error))
        self.link.trouble(describe(error))

    async def _missing(self, request: pb.ModelInferRequest, text: str, attempt: int, deadline: Deadline) -> None:
        """Return once the model is ready, where it may be on its way; else raise ModelUnknown or EngineUnavailable.

        A server that came back under this very request loads its models anew; else only one that says LOADING waits.
        """
        name, version = request.model_name, request.model_version
        until = asyncio.get_running_loop().time() + min(deadline.left(), _LOADING_S)
        while True:
            index = await self.ask("RepositoryIndex", pb.RepositoryIndexRequest())
            found = [model for model in index.models if model.name == name and version in {"", model.version}]
            if not found:
                raise ModelUnknown(text)
            if any(model.state == "READY" for model in found):
                return
            if attempt == 1 and not any(model.state == "LOADING" for model in found):
                break
            if asyncio.get_running_loop().time() >= until:
                break
            await asyncio.sleep(_PAUSE_S)
        states = ", ".join(f"{model.version or '-'} {model.state or 'not loaded'} {model.reason}" for model in found)
        raise EngineUnavailable(f"model {name!r} is not ready: {states.strip()}")


def _meaning(error: grpc.aio.AioRpcError, what: str) -> Exception:
    """Return the error; what Triton does not understand is the fault of who asked."""
    return EngineRefused(text_of(error)) if kind_of(error) == "wrong" else meaning(error, what)
