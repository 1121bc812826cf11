"""Asks the inference service for a policy, however long it is away, and reads what it answers."""

import asyncio
from typing import Any

import httpx
import structlog
from pydantic_core import from_json

from lineside.backoff import Backoff
from lineside_topic_bridge.inference import BUSY, InferenceAway, InferenceLink

log = structlog.get_logger("lineside.topic_bridge")

_TIMEOUT_S = 10.0
_BACKOFF = Backoff(first_s=0.2, longest_s=5.0)
_MAX_ERRORS = 20
_LONGEST_ERROR = 200


def is_settled(answer: httpx.Response) -> bool:
    """Whether asking again cannot change the answer: it was applied, or the policy is wrong."""
    return answer.status_code not in BUSY and not answer.is_server_error


def report(answer: httpx.Response, now: str) -> dict[str, Any]:
    """Return what is reported for an answer of `PUT /v1/policy`."""
    document: dict[str, Any] = {}
    try:
        body = from_json(answer.content)
        document = body if isinstance(body, dict) else {}
    except ValueError:
        pass
    if answer.is_success:
        return {
            "policy": document,
            "etag": answer.headers.get("etag"),
            "state": "applied",
            "errors": [],
            "time": now,
        }
    errors = document.get("errors")
    if not isinstance(errors, list) or not errors:
        errors = [document.get("detail") or f"the inference service answered {answer.status_code}"]
    return refusal([str(error) for error in errors], now)


def refusal(errors: list[str], now: str) -> dict[str, Any]:
    """Return what is reported for a wish that is wrong."""
    shown = [error[:_LONGEST_ERROR] for error in errors[:_MAX_ERRORS]]
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    return {"policy": None, "etag": None, "state": "refused", "errors": shown, "time": now}


async def put_policy(inference: InferenceLink, payload: bytes) -> httpx.Response:
    """Return the answer that settles it, however long the inference service is away."""
    failures = 0
    while True:
        try:
            answer = await inference.put_policy(payload, _TIMEOUT_S)
            if is_settled(answer):
                return answer
            log.warning("the policy waits", status=answer.status_code)
        except InferenceAway as error:
            log.warning("the policy waits for the inference service", reason=error.what)
        await asyncio.sleep(_BACKOFF.wait_s(failures))
        failures += 1
