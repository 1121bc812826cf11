"""POST /v1/capture and GET /v1/capture/{id}: evidence of clients that judge for themselves.

Taking one never waits for the network: it is answered when the record is on this box's disk. With
`edge_manager.strict` it is refused where Edge Manager's agent refused it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lineside.contract import utc_now
from lineside.edge_manager import EdgeManagerSettings
from lineside.spool import Outcome
from lineside_inference.api import capture_request, openapi
from lineside_inference.api.body import JSON, media_type, read_json
from lineside_inference.api.capture_admission import CaptureAdmission, as_problems
from lineside_inference.api.capture_request import CaptureRequest, CaptureUnreadable
from lineside_inference.api.documents import CaptureDocument
from lineside_inference.api.problems import Problem
from lineside_inference.capture.recorder import Recorder
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import Workers
from lineside_inference.errors import ModelUnknown
from lineside_inference.models.store import ModelStore
from lineside_inference.settings import LimitSettings

_JSON = "application/json"
_STATUS: dict[Outcome, tuple[Literal["IN_PROGRESS", "SUCCESS", "FAILURE"], str]] = {
    "waiting": ("IN_PROGRESS", "on this box's disk, on its way to the destinations"),
    "delivered": ("SUCCESS", "at every destination"),
    "dead": ("FAILURE", "refused by a destination for good; `lineside spool list` says why, `retry` tries again"),
    "dropped": ("FAILURE", "dropped on this box before it could leave: see `dropped` at /v1/evidence"),
}
_PROBLEMS = {
    400: "Not JSON.",
    404: "No model of this name is known here.",
    408: "The body did not arrive in time.",
    409: "A capture of this id was taken before.",
    413: "The body is too large.",
    415: "Content type or encoding not supported.",
    422: "A field is wrong, or the timestamp is in the future.",
    429: "No room now; see Retry-After.",
    503: "No evidence can be kept now; `detail` says what to do.",
}
_UNKNOWN = "No capture of this id is known here (any more)."
_UNDER_WAY = "on its way to this box's disk"
_TAKEN = "The capture is on this box's disk, and leaves as the network allows."


def router(
    recorder: Recorder,
    store: ModelStore,
    limits: LimitSettings,
    edge_manager: EdgeManagerSettings,
    device: str,
    gate: Admission,
    workers: Workers,
    *,
    now: Callable[[], datetime] = utc_now,
) -> APIRouter:
    """Return the routes; `device` is this box's name in every record."""
    routes = APIRouter()
    door = CaptureAdmission(recorder, edge_manager)

    @routes.post(
        "/v1/capture",
        status_code=202,
        responses={202: {"model": CaptureDocument, "description": _TAKEN}, **openapi.refusals(_PROBLEMS)},
        openapi_extra=openapi.body_of(CaptureRequest, _JSON),
    )
    async def capture(request: Request) -> Response:
        """Take one inference of a client as evidence; answered when it is on the disk, with or without network."""
        kind = media_type(request)
        if kind is not None and kind != _JSON and not kind.endswith("+json"):
            raise Problem(415, "content-type-unsupported", f"Content-Type {kind!r:.100} is not supported; send {_JSON}")
        arrived = now()
        with gate.bodies.one(JSON) as taken:
            try:
                payload = await read_json(
                    request,
                    taken,
                    max_bytes=limits.json_bytes,
                    max_values=limits.json_body_values,
                    within_s=limits.body_s,
                )
            except ClientDisconnect:
                return Response(status_code=499)
            with door.place():
                return await take(payload, arrived)

    async def take(payload: bytes, arrived: datetime) -> Response:
        given = await workers.read(len(payload), _parse, payload, arrived)
        version = _version(given.model, store, recorder.settings.models)
        async with door.admitted(given.capture_id):
            await _keep(given, arrived, version, len(payload))
        answer = _answer(given.capture_id, "waiting")
        return Response(answer.model_dump_json(), 202, media_type=_JSON)

    @routes.get("/v1/capture/{capture_id}", responses=openapi.refusals({404: _UNKNOWN, 503: _PROBLEMS[503]}))
    async def status(
        capture_id: Annotated[str, Path(description="Its capture_id, or the id of a request.", max_length=128)],
    ) -> CaptureDocument:
        """Answer what became of one capture: IN_PROGRESS, SUCCESS or FAILURE, and why."""
        spool = door.spool(capture_id)
        is_under_way = recorder.is_under_way(capture_id)  # asked first: it may arrive while the spool is asked
        with as_problems(capture_id):
            outcome = await run_in_threadpool(spool.find, capture_id)
        if outcome is None and is_under_way:
            return CaptureDocument(capture_id=capture_id, status="IN_PROGRESS", detail=_UNDER_WAY)
        if outcome is None:
            raise Problem(404, "capture-unknown", f"Capture {capture_id!r:.140} is not known here (any more).")
        return _answer(capture_id, outcome)

    async def _keep(given: CaptureRequest, arrived: datetime, version: str | None, size: int) -> None:
        with as_problems(given.capture_id):
            receipt = await asyncio.shield(
                recorder.submit(
                    lambda: capture_request.entry(
                        given,
                        arrived,
                        fleet=edge_manager.DeviceFleetName,
                        device=device,
                        version=version,
                        embed_limit=edge_manager.embed_limit,
                        text_as_base64=edge_manager.text_as_base64,
                    ),
                    key=given.capture_id,
                    model=given.model,
                    size=size,
                )
            )
        if not receipt.is_new:
            raise Problem(
                409,
                "capture-exists",
                f"Capture {given.capture_id!r} was taken before, and stays as it is.",
                request_id=given.capture_id,
            )

    return routes


def _version(model: str, store: ModelStore, others: Sequence[str]) -> str | None:
    """Return a model's version in force, None where only its clients know; raises Problem 404 for an unknown one."""
    if model in store:
        return store[model].card.version if store.is_loaded(model) else None
    if model in others or model in store.out:
        return None
    known = ", ".join(sorted({*store, *others}))
    detail = f"Model {model!r:.140} is not known. Known here: {known}. Others are named in inference.capture.models."
    raise Problem(404, ModelUnknown.code, detail)


def _answer(capture_id: str, outcome: Outcome) -> CaptureDocument:
    word, detail = _STATUS[outcome]
    return CaptureDocument(capture_id=capture_id, status=word, detail=detail)


def _parse(payload: bytes, now: datetime) -> CaptureRequest:
    try:
        return capture_request.parse(payload, now)
    except CaptureUnreadable as error:
        status = 400 if error.code == "not-json" else 422
        raise Problem(status, error.code, error.reason, request_id=error.capture_id) from None
