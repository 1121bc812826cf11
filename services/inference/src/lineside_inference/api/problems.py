"""What cannot be understood or let in is answered as application/problem+json (RFC 9457).

`type` is `urn:lineside:problem:<code>`; both it and `code` are stable, `detail` is for people.
"""

import json
from collections.abc import Mapping, Sequence

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lineside_inference.errors import Refused, Stopping
from lineside_inference.usecases.metrics import Metrics

log = structlog.get_logger("lineside.inference.api")

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:lineside:problem:"
_TITLES = {
    400: "The request cannot be read",
    401: "A token is needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "The body did not arrive in time",
    409: "It cannot be done as things are",
    412: "It has changed in the meantime",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "The request is not valid",
    429: "No room for the request now",
    500: "The service failed",
    503: "Not available now",
}


class Problem(Exception):
    """An HTTP answer that says what was wrong."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        request_id: str | None = None,
        headers: Mapping[str, str] = {},
        errors: Sequence[str] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.headers = dict(headers)
        self.errors = list(errors)


def respond(problem: Problem) -> Response:
    """Return the HTTP answer of a problem."""
    body: dict[str, object] = {
        "type": TYPE_PREFIX + problem.code,
        "title": _TITLES.get(problem.status, "The request was refused"),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail[:2000],
    }
    if problem.request_id is not None:
        body["request_id"] = problem.request_id
    if problem.errors:
        body["errors"] = problem.errors
    return Response(json.dumps(body), problem.status, problem.headers, MEDIA_TYPE)


def install(app: FastAPI, metrics: Metrics) -> None:
    """Answer every error of an application as a problem, counted and logged."""

    async def on_problem(_request: Request, error: Exception) -> Response:
        problem = _as_problem(error)
        metrics.refused(problem.code)
        log.warning(
            "refused", status=problem.status, code=problem.code, reason=problem.detail, request_id=problem.request_id
        )
        return respond(problem)

    async def on_crash(_request: Request, _error: Exception) -> Response:
        metrics.refused("internal")
        return respond(Problem(500, "internal", "The inference service failed; its log says why."))

    for kind in (Problem, Refused, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, on_problem)
    app.add_exception_handler(Exception, on_crash)


def _as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        status = 503 if isinstance(error, Stopping) else 429
        return Problem(status, error.code, str(error), headers={"Retry-After": str(error.retry_after_s)})
    if isinstance(error, HTTPException):
        code = {404: "path-unknown", 405: "method-not-allowed"}.get(error.status_code, "http")
        return Problem(error.status_code, code, str(error.detail), headers=error.headers or {})
    return Problem(422, "message-invalid", str(error))
