"""What Triton's own words mean; each was said by a real Triton, over gRPC and over HTTP."""

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from lineside_inference.engine.failures import Kind, kind_of, meaning
from lineside_inference.errors import EngineFailed, EngineTimeout, EngineUnavailable, RequestError

UNAVAILABLE, NOT_FOUND = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("code", "said", "kind", "error"),
    [
        (UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size", "busy", EngineUnavailable),
        (UNAVAILABLE, "Request timeout expired", "late", EngineTimeout),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", "late", EngineTimeout),
        (UNAVAILABLE, "Request for unknown model: 'm' version 1 is not at ready state", "model", EngineUnavailable),
        (NOT_FOUND, "Request for unknown model: 'm' version 7 is not found", "model", EngineUnavailable),
        (NOT_FOUND, "Unable to find shared memory region: 'lineside_x'", "region", EngineUnavailable),
        (UNAVAILABLE, "Stream removed (Socket closed)", "server", EngineUnavailable),
        (UNAVAILABLE, "Triton's HTTP port: [Errno 111] Connect call failed", "server", EngineUnavailable),
        (grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape for input 'x'", "wrong", EngineFailed),
        (grpc.StatusCode.INTERNAL, "CUDA error", "failed", EngineFailed),
    ],
)
def test_what_it_is_about_stands_in_the_words(
    code: grpc.StatusCode, said: str, kind: Kind, error: type[RequestError]
) -> None:
    failed = AioRpcError(code, Metadata(), Metadata(), details=said)
    assert kind_of(failed) == kind
    told = meaning(failed, "model 'm'")
    assert type(told) is error
    assert "model 'm'" in told.what
    assert "id_unknown" not in told.what
