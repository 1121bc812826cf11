"""POST /v1/capture and GET /v1/capture/{id}: evidence of clients that judge for themselves.

Taking one never waits for the network: it is answered when the record is on this box's disk. With
`edge_manager.strict` it is refused where Edge Manager's agent refused it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from starlette.requests import ClientDisconnect

from lineside.contract import utc_now
from lineside.errors import LinesideError
from lineside.spool import Outcome, SpoolError, SpoolFull
from lineside_inference.api import openapi
from lineside_inference.api.body import JSON, media_type, read_json
from lineside_inference.api.documents import CaptureDocument
from lineside_inference.api.problems import Problem
from lineside_inference.capture.capture_request import CaptureRequest, CaptureUnreadable, parse
from lineside_inference.capture.client_captures import ClientCaptures
from lineside_inference.dataplane.admission import Admission
from lineside_inference.dataplane.workers import Workers
from lineside_inference.errors import (
    CaptureBufferFull,
    CaptureExists,
    CaptureQueueFull,
    CaptureUnknown,
    DestinationAway,
    ModelUnknown,
    NotKept,
)
from lineside_inference.settings import LimitSettings

_JSON = "application/json"
_STATUS: dict[Outcome | None, tuple[Literal["IN_PROGRESS", "SUCCESS", "FAILURE"], str]] = {
    None: ("IN_PROGRESS", "on its way to this box's disk"),
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
_TAKEN = "The capture is on this box's disk, and leaves as the network allows."
_RETRY = {"Retry-After": "5"}
_REFUSALS: tuple[tuple[type[LinesideError], int, dict[str, str]], ...] = (
    (ModelUnknown, 404, {}),
    (CaptureUnknown, 404, {}),
    (CaptureExists, 409, {}),
    (SpoolFull, 429, _RETRY),
    (CaptureQueueFull, 429, _RETRY),
    (CaptureBufferFull, 429, _RETRY),
    (DestinationAway, 503, _RETRY),
    (NotKept, 503, {}),
    (SpoolError, 503, _RETRY),
)
"""The status and the headers of each error, by the first kind that it is of."""


def router(
    captures: ClientCaptures,
    limits: LimitSettings,
    gate: Admission,
    workers: Workers,
    *,
    now: Callable[[], datetime] = utc_now,
) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

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
        with gate.bodies.one(JSON) as body:
            try:
                payload = await read_json(
                    request,
                    body,
                    max_bytes=limits.json_bytes,
                    max_values=limits.json_body_values,
                    within_s=limits.body_s,
                )
            except ClientDisconnect:
                return Response(status_code=499)
            with gate.captures.admit():
                given = await workers.read(len(payload), _parse, payload, arrived)
                with as_problems(given.capture_id):
                    await captures.keep(given, arrived, len(payload))
                return Response(_answer(given.capture_id, "waiting").model_dump_json(), 202, media_type=_JSON)

    @routes.get("/v1/capture/{capture_id}", responses=openapi.refusals({404: _UNKNOWN, 503: _PROBLEMS[503]}))
    async def status(
        capture_id: Annotated[str, Path(description="Its capture_id, or the id of a request.", max_length=128)],
    ) -> CaptureDocument:
        """Answer what became of one capture: IN_PROGRESS, SUCCESS or FAILURE, and why."""
        with as_problems(capture_id):
            return _answer(capture_id, await captures.find(capture_id))

    return routes


@contextmanager
def as_problems(capture_id: str) -> Iterator[None]:
    """Answer what a capture is refused with as a problem."""
    try:
        yield
    except LinesideError as error:
        for kind, status, headers in _REFUSALS:
            if isinstance(error, kind):
                raise Problem(status, error.code, str(error), request_id=capture_id, headers=headers) from None
        raise


def _answer(capture_id: str, outcome: Outcome | None) -> CaptureDocument:
    word, detail = _STATUS[outcome]
    return CaptureDocument(capture_id=capture_id, status=word, detail=detail)


def _parse(payload: bytes, now: datetime) -> CaptureRequest:
    try:
        return parse(payload, now)
    except CaptureUnreadable as error:
        status = 400 if error.code == "not-json" else 422
        raise Problem(status, error.code, error.reason, request_id=error.capture_id) from None
