"""POST /v1/outcomes and POST /v1/status: what the bridges tell; GET /v1/chain: how the whole line stands."""

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from lineside import contract
from lineside_inference.api import openapi
from lineside_inference.api.body import JSON, media_type, read_body
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Bodies
from lineside_inference.live.chain import Chain
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.outcomes import Outcomes

_JSON = "application/json"
_MAX_BYTES = 64 * 1024
_UNREADABLE = {"message-invalid": 422}
_GONE = 499
_Message = TypeVar("_Message", contract.Outcome, contract.ServiceStatus)
_REFUSED = openapi.refusals(
    {
        400: "Not JSON, or another schema.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "Content type or encoding not supported.",
        422: "A field is missing or wrong.",
    }
)


def router(outcomes: Outcomes, chain: Chain, limits: LimitSettings, bodies: Bodies) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    async def read(request: Request, parse: Callable[[bytes], _Message]) -> _Message | None:
        """Return the message of a request, None where who sends it has gone; raises Problem."""
        kind = media_type(request)
        if kind is not None and kind != _JSON and not kind.endswith("+json"):
            raise Problem(415, "content-type-unsupported", f"Content-Type {kind!r:.100} is not supported; send {_JSON}")
        max_bytes = min(_MAX_BYTES, limits.json_bytes)
        try:
            with bodies.one(JSON) as body:
                return parse(await read_body(request, body, max_bytes=max_bytes, within_s=limits.body_s))
        except ClientDisconnect:
            return None
        except contract.Unreadable as error:
            raise Problem(_UNREADABLE.get(error.code, 400), error.code, error.reason) from None

    @routes.post(
        "/v1/outcomes", status_code=204, responses=_REFUSED, openapi_extra=openapi.body_of(contract.Outcome, _JSON)
    )
    async def take_outcome(request: Request) -> Response:
        """Take what the PLC got for a part; answered once the history has it, within a second or so.

        The same one again changes nothing.
        """
        if (outcome := await read(request, contract.parse_outcome)) is None:
            return Response(status_code=_GONE)
        await outcomes.conclude(outcome)
        return Response(status_code=204)

    @routes.post(
        "/v1/status", status_code=204, responses=_REFUSED, openapi_extra=openapi.body_of(contract.ServiceStatus, _JSON)
    )
    async def take_status(request: Request) -> Response:
        """Take how a service of the line stands; it counts for a few seconds."""
        if (status := await read(request, contract.parse_status)) is None:
            return Response(status_code=_GONE)
        chain.heard(status)
        return Response(status_code=204)

    @routes.get("/v1/chain")
    async def read_chain() -> dict[str, Any]:
        """Answer how the services of the line stand, as they told last, and which of them went silent."""
        return chain.document()

    return routes
