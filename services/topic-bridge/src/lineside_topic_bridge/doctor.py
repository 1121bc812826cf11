"""What the doctor asks about the topic-bridge: the inference service, what the triggers name there, and the topics.

The topics are tested with a request whose deadline has long passed: it is answered like any other, and no model
runs for it. Its station is one that is reserved for such requests.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pydantic_core import from_json

from lineside.bus import Subscription
from lineside.bus.opening import open_bus
from lineside.checks import Check, bounded, document_of, fail, needs, ok, skip, warn
from lineside.connections import Connection
from lineside.contract import TRY_STATION, CameraSource, Context, Request, Times, to_json, utc_now
from lineside.naming import lacking, triggers_of
from lineside.settings import load
from lineside_topic_bridge.inference import Token
from lineside_topic_bridge.settings import Settings, TopicBridgeSettings

ANSWER_S = 8.0
_CALL_S = 5.0
_API, _NAMED, _TOPICS = "inference API", "models and cameras", "topics end to end"


async def checks(file: Path | None, before: Mapping[str, Check]) -> AsyncIterator[Check]:
    """Yield the checks of the topic-bridge."""
    settings = load(Settings, file=file)
    own = settings.topic_bridge
    models: dict[str, str] = {}
    remedy = "does the inference service run, and is topic_bridge.inference_url right?"
    api = await bounded(_API, partial(_inference, own, models), within_s=_CALL_S, remedy=remedy)
    yield api
    known = {**before, _API: api}
    yield needs(_NAMED, known, _API) or _named(document_of(file), models)
    way = partial(_there_and_back, settings, next((name for name, kind in models.items() if kind == "image"), "none"))
    remedy = "does the topic-bridge run, on this broker and with these topics?"
    yield needs(_TOPICS, known, "broker", _API) or await bounded(_TOPICS, way, within_s=ANSWER_S, remedy=remedy)


async def _inference(own: TopicBridgeSettings, models: dict[str, str]) -> Check:
    """Ask for the models, which needs the token where there is one; note each with its kind of input."""
    token = Token(own.inference_token_file) if own.inference_token_file else None
    async with httpx.AsyncClient(base_url=own.inference_url, trust_env=False, auth=token, timeout=_CALL_S) as client:
        answer = await client.get("/v1/models")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        remedy = "set topic_bridge.inference_token_file to a file with one of the service's tokens"
        return fail(_API, f"{own.inference_url} does not know our token", remedy)
    answer.raise_for_status()
    found = answer.json()["models"]
    models |= {str(model["name"]): str(model["input"]) for model in found}
    shown = ", ".join(f"{model['name']} {model['version'] or '-'} {model['state']}" for model in found)
    if waiting := [str(model["name"]) for model in found if model["state"] != "ONLINE"]:
        return warn(_API, f"{own.inference_url}: {shown}", f"see /v1/models for why {', '.join(waiting)} is not in use")
    return ok(_API, f"{own.inference_url}: {shown or 'no models'}")


def _named(document: Mapping[str, Any], models: Mapping[str, str]) -> Check:
    """Compare what the triggers name with what there is: the models that run, the cameras in the same file."""
    bridge, inference = document.get("opcua_bridge"), document.get("inference")
    triggers = list(triggers_of(bridge))
    if not triggers:
        return skip(_NAMED, "the settings file has no triggers")
    wrong = [
        f"trigger {trigger.get('name')!r}: model {trigger.get('model')!r} is not there; "
        f"there are {', '.join(models) or 'none'}"
        for trigger in triggers
        if trigger.get("model") not in models
    ]
    wrong += lacking(bridge, inference)
    if wrong:
        remedy = "correct the trigger, or add the model to the repository, the camera to inference.cameras"
        return fail(_NAMED, "; ".join(wrong), remedy)
    unseen = "" if isinstance(inference, Mapping) else "; cameras are in another file"
    return ok(_NAMED, f"all that {len(triggers)} triggers name is there{unseen}")


async def _there_and_back(settings: Settings, model: str) -> Check:
    """Put a request on the topic and wait for its result."""
    now = utc_now()
    request = Request.new(
        model=model,
        source=CameraSource(camera="doctor"),
        context=Context(station=TRY_STATION),
        time=Times(received=now - timedelta(hours=1), published=now),
        deadline_ms=1.0,
    )
    topics = settings.bus
    link = Connection("bus", topics.url)
    bus = open_bus(topics, client=f"doctor-{request.id[-12:]}", connection=link, keep=False)
    results, errors = bus.subscribe(topics.result_topic), bus.subscribe(f"{topics.result_topic}/error")
    async with bus:
        while not link.is_online:  # noqa: ASYNC110 - a Connection is for people to look at, it wakes nobody
            await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(_of(request.id, each), name="doctor") for each in (results, errors)]
        try:
            started = asyncio.get_running_loop().time()
            await bus.publish(topics.request_topic, to_json(request))
            done, _pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            took = asyncio.get_running_loop().time() - started
            return _judged(settings, done.pop().result(), took)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def _of(request_id: str, messages: Subscription) -> dict[str, Any]:
    """Return the first message about the request."""
    async for message in messages:
        message.ack()
        try:
            document = from_json(message.payload)
        except ValueError:
            continue
        if isinstance(document, dict) and document.get("request_id") == request_id:
            return document
    raise RuntimeError("the subscription ended")  # it never does


def _judged(settings: Settings, answer: Mapping[str, Any], took_s: float) -> Check:
    way = f"{settings.bus.request_topic} to {settings.bus.result_topic} in {took_s * 1000:.0f} ms"
    status = answer.get("status")
    if status is None:
        return fail(_TOPICS, f"the topic-bridge answered {answer.get('code')}: {answer.get('reason')}")
    if status == "disabled":
        remedy = "switch it on by the page or PUT /v1/policy when parts are to be judged"
        return warn(_TOPICS, f"{way}; the policy is switched off", remedy)
    return ok(_TOPICS, f"{way}; a request of an hour ago was answered {status!r} ({answer.get('code')})")
