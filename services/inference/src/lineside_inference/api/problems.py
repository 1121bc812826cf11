"""What cannot be understood is answered as application/problem+json (RFC 9457) with a stable `code`."""

import json
from collections.abc import Mapping

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from lineside_inference.errors import Refused
from lineside_inference.metrics import Metrics

log = structlog.get_logger("lineside.inference.api")

MEDIA_TYPE = "application/problem+json"
_TITLES = {
    400: "The request cannot be read",
    404: "No such path",
    405: "Method not allowed",
    408: "The body did not arrive in time",
    413: "The body is too large",
    415: "The content type is not supported",
    422: "The request is not valid",
    500: "The service failed",
    503: "No room for the request now",
}


class Problem(Exception):
    """An HTTP answer that says what was wrong."""

    def __init__(
        self, status: int, code: str, detail: str, *, request_id: str | None = None, headers: Mapping[str, str] = {}
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.headers = dict(headers)


def respond(problem: Problem) -> Response:
    """Return the HTTP answer of a problem."""
    body = {
        "type": "about:blank",
        "title": _TITLES.get(problem.status, "The request was refused"),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail[:2000],
    }
    if problem.request_id is not None:
        body["request_id"] = problem.request_id
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
        return Problem(503, error.code, str(error), headers={"Retry-After": "1"})
    if isinstance(error, HTTPException):
        code = {404: "path-unknown", 405: "method-not-allowed"}.get(error.status_code, "http")
        return Problem(error.status_code, code, str(error.detail), headers=error.headers or {})
    return Problem(422, "message-invalid", str(error))
