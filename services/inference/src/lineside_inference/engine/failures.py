"""What a call to Triton that failed means, over its gRPC and its HTTP port alike.

Triton says UNAVAILABLE where it is away, where one model's queue is full or one model is not loaded, and where a
request waited for too long: only the first is about the server. Which one it is stands in its words.
"""

from typing import Literal

import grpc
from grpc.aio import AioRpcError

from lineside_inference.engine.link import describe
from lineside_inference.errors import EngineFailed, EngineTimeout, EngineUnavailable, RequestError

Kind = Literal["busy", "late", "region", "model", "server", "wrong", "failed"]
"""busy: the model's own queue is full. late: it waited too long. region: Triton has lost our shared memory. model: this
model is not loaded. server: Triton is away. wrong: it does not understand the request. failed: anything else."""

_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
_WRONG = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.ALREADY_EXISTS}


def kind_of(error: AioRpcError) -> Kind:
    """Return what a failed call is about."""
    code, said = error.code(), (error.details() or "").lower()
    if "unable to find shared memory region" in said:
        return "region"
    if "maximum queue size" in said:
        return "busy"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED or "timeout expired" in said:
        return "late"
    if code is grpc.StatusCode.NOT_FOUND or "not at ready state" in said:
        return "model"
    if code in _AWAY:
        return "server"
    return "wrong" if code in _WRONG else "failed"


def meaning(
    error: AioRpcError, what: str, wrong: type[RequestError] = EngineFailed, kind: Kind | None = None
) -> RequestError:
    """Return the error of a call about `what` that is not made again; `wrong` is the one of a request that misfits."""
    kind = kind or kind_of(error)
    if kind == "late":
        return EngineTimeout(f"Triton did not answer for {what} in time")
    if kind == "wrong" and wrong is not EngineFailed:
        return wrong(text_of(error))
    if kind in {"wrong", "failed"}:
        return EngineFailed(f"Triton failed on {what}: {describe(error)}")
    return EngineUnavailable(f"Triton does not take it now: {what}: {text_of(error)}")


def text_of(error: AioRpcError) -> str:
    """Return Triton's own words, without its placeholder for a missing id."""
    return " ".join((error.details() or error.code().name).replace("[request id: <id_unknown>] ", "").split())[:1000]
