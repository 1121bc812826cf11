"""Who may call: by the tokens of the HTTP face, looked at before anything of a request's message is read.

Hosts and origins are not looked at: no web page can make a browser speak gRPC without TLS.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import structlog

from lineside_inference.api.tokens import TokenFile

log = structlog.get_logger("lineside.inference.access")

_OPEN = "/grpc.health.v1.Health/Check"
"""Says no more than /readyz does without a token."""

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]]


class Access(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # it has no types
    """Lets calls through whose metadata `authorization` bears a token."""

    def __init__(self, tokens: TokenFile, on_refusal: Callable[[str], None]) -> None:
        self._tokens = tokens
        self._on_refusal = on_refusal

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler:
        """Return the handler of a call, or one that refuses it."""
        given = [value for name, value in handler_call_details.invocation_metadata if name == "authorization"]
        if handler_call_details.method == _OPEN or (given and self._tokens.admits(given[-1])):
            return await continuation(handler_call_details)
        code, what = ("token-unknown", "the bearer token is not known") if given else _MISSING
        self._on_refusal(code)
        log.warning("refused", code=code, call=handler_call_details.method[:200])

        async def refuse(_requests: Any, context: grpc.aio.ServicerContext) -> bytes:
            words = f"{code}: {what}: send metadata `authorization: Bearer <token>` with one of the lines of "
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"{words}inference.http.token_file")
            return b""

        return grpc.stream_unary_rpc_method_handler(refuse)  # reads no request; a client of one sees no difference


_MISSING = ("token-missing", "a bearer token is needed")
