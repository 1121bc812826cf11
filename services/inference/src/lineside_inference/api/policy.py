"""GET and PUT /v1/policy: the operator's live settings."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from starlette.requests import ClientDisconnect

from lineside.contract import Policy, to_json
from lineside_inference.api import problems
from lineside_inference.api.body import JSON, media_type, read_json
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Bodies
from lineside_inference.errors import PolicyChanged, PolicyRefused, StateNotKept
from lineside_inference.policies.policy_store import PolicyStore
from lineside_inference.settings import LimitSettings

MAX_BYTES = 256 * 1024
"""Largest policy: about ten thousand thresholds. One that comes over the bus is smaller still."""
MAX_ERRORS = 100
"""The most faults of a policy that an answer lists."""
_JSON = "application/json"
_ETAG = {"ETag": {"description": "Which policy it is.", "schema": {"type": "string"}}}
_POLICY: dict[str, Any] = {"model": Policy, "description": "The policy in force.", "headers": _ETAG}
_REFUSED = {
    408: "The body did not arrive in time.",
    412: "The policy is another one than If-Match names.",
    413: "The body is too large.",
    415: "Content type or encoding not supported.",
    422: "The policy is wrong: `errors` has every fault, and nothing was changed.",
    503: "The policy cannot be kept on the disk; nothing was changed.",
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: _POLICY,
    **{status: {"description": text, "content": {problems.MEDIA_TYPE: {}}} for status, text in _REFUSED.items()},
}


def router(policies: PolicyStore, limits: LimitSettings, bodies: Bodies) -> APIRouter:
    """Return the routes."""
    max_bytes = min(limits.json_bytes, MAX_BYTES)
    routes = APIRouter()

    def answer() -> Response:
        headers = {"ETag": policies.etag, "Cache-Control": "no-cache"}
        return Response(to_json(policies.current), media_type=_JSON, headers=headers)

    @routes.get("/v1/policy", responses={200: _POLICY})
    async def get_policy() -> Response:
        """Answer the policy in force, with its ETag."""
        return answer()

    @routes.put(
        "/v1/policy",
        responses=_ANSWERS,
        openapi_extra={
            "requestBody": {"required": True, "content": {_JSON: {"schema": {"$ref": "#/components/schemas/Policy"}}}}
        },
    )
    async def put_policy(
        request: Request,
        if_match: Annotated[str | None, Header(description="Only where the policy in force has this ETag.")] = None,
    ) -> Response:
        """Put a policy into force, whole; it counts from the next request on, and survives a restart."""
        kind = media_type(request)
        if kind is not None and kind != _JSON and not kind.endswith("+json"):
            raise Problem(415, "content-type-unsupported", f"Content-Type {kind!r:.100} is not supported; send {_JSON}")
        with bodies.one(JSON) as body:
            try:
                payload = await read_json(
                    request, body, max_bytes=max_bytes, max_values=limits.json_body_values, within_s=limits.body_s
                )
            except ClientDisconnect:
                return Response(status_code=499)
            try:
                await policies.put(payload, if_match)
            except PolicyRefused as error:
                raise Problem(422, error.code, str(error), errors=error.problems[:MAX_ERRORS]) from None
            except PolicyChanged as error:
                raise Problem(412, error.code, str(error), headers={"ETag": policies.etag}) from None
            except StateNotKept as error:
                raise Problem(503, error.code, str(error)) from None
            return answer()

    return routes
