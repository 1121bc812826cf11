"""POST /v1/policy/preview: what the last parts would have been judged under a policy that is not in force."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.requests import ClientDisconnect

from lineside.contract import Policy, Result, Verdict
from lineside_inference.api import openapi
from lineside_inference.api.body import JSON, media_type, read_json
from lineside_inference.api.policy import MAX_BYTES, MAX_ERRORS
from lineside_inference.api.problems import Problem
from lineside_inference.dataplane.admission import Bodies
from lineside_inference.errors import ModelOut, ModelUnknown, PolicyRefused
from lineside_inference.live.live_feed import LiveFeed
from lineside_inference.models.card import Card
from lineside_inference.models.store import ModelStore
from lineside_inference.policies.policy_store import PolicyStore
from lineside_inference.settings import LimitSettings
from lineside_inference.usecases.preview import Preview, preview

_JSON = "application/json"
_VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "unknown")
_MAX_PARTS = 1000
_REFUSED = openapi.refusals(
    {
        404: "No such model.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "Content type or encoding not supported.",
        422: "The policy is wrong: `errors` has every fault. Or the model is out: `detail` says why.",
        429: "No room for the body now; see Retry-After.",
    }
)


def router(
    policies: PolicyStore, store: ModelStore, feed: LiveFeed, limits: LimitSettings, bodies: Bodies, workers: Executor
) -> APIRouter:
    """Return the route; one preview at a time is worked out, in a thread beside the line's."""
    max_bytes = min(limits.json_bytes, MAX_BYTES)
    one_at_a_time = asyncio.Semaphore(1)
    routes = APIRouter()

    @routes.post(
        "/v1/policy/preview",
        response_model=None,
        responses={200: {"description": "The verdicts by both policies."}, **_REFUSED},
        openapi_extra=openapi.body_of(Policy, _JSON),
    )
    async def preview_policy(
        request: Request,
        model: Annotated[str | None, Query(max_length=128, description="Only parts that this model judged.")] = None,
        limit: Annotated[int, Query(ge=1, le=_MAX_PARTS, description="Newest judged parts to compare.")] = 200,
    ) -> Response | dict[str, Any]:
        """Answer what the kept parts would have been judged by a policy, which is checked and not put into force."""
        kind = media_type(request)
        if kind is not None and kind != _JSON and not kind.endswith("+json"):
            raise Problem(415, "content-type-unsupported", f"Content-Type {kind!r:.100} is not supported; send {_JSON}")
        cards = _cards(store, model)
        with bodies.one(JSON) as body:
            try:
                payload = await read_json(
                    request, body, max_bytes=max_bytes, max_values=limits.json_body_values, within_s=limits.body_s
                )
            except ClientDisconnect:
                return Response(status_code=499)
            try:
                proposed = await policies.check(payload)
            except PolicyRefused as error:
                raise Problem(422, error.code, str(error), errors=error.problems[:MAX_ERRORS]) from None
            async with one_at_a_time:
                results = _results(feed, cards)
                work = partial(_previewed, results, cards, policies.current, proposed, limit)
                return await asyncio.get_running_loop().run_in_executor(workers, work)

    return routes


def _cards(store: ModelStore, name: str | None) -> dict[str, Card]:
    if name is None:
        return {known: model.card for known, model in store.items()}
    if name in store.out:
        raise Problem(422, ModelOut.code, f"Model {name!r} is out: {store.out[name]}")
    if name not in store:
        raise Problem(
            404,
            ModelUnknown.code,
            f"Model {name!r:.140} is not known. Known here: {', '.join(sorted(store)) or 'none'}",
        )
    return {name: store[name].card}


def _results(feed: LiveFeed, cards: dict[str, Card]) -> Sequence[bytes]:
    parts, _more = feed.parts(limit=feed.settings.parts)
    return [part.result for part in parts if part.result is not None and part.head["model"] in cards]


def _previewed(
    results: Sequence[bytes], cards: dict[str, Card], current: Policy, proposed: Policy, limit: int
) -> dict[str, Any]:
    return document(preview(map(Result.model_validate_json, results), cards, current, proposed, limit))


def document(made: Preview) -> dict[str, Any]:
    """Return what is answered."""
    return {
        "parts": sum(made.before.values()),
        "exact": made.is_exact,
        "before": {verdict: made.before.get(verdict, 0) for verdict in _VERDICTS},
        "after": {verdict: made.after.get(verdict, 0) for verdict in _VERDICTS},
        "changed": [asdict(one) for one in made.changed],
    }
