"""JSON bodies of HTTP requests to a simulator: bounded in size and time, refused with what is wrong with them."""

import asyncio
from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

MAX_BYTES = 4096
BODY_S = 5.0

M = TypeVar("M", bound=BaseModel)


class RequestBody(BaseModel):
    """Base of the bodies: unknown names and values of other types are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Refused(Exception):
    """An answer that says what was wrong; `more` stands beside it in the body."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] = {}, more: Mapping[str, object] = {}
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers)
        self.more = dict(more)


async def refuse(_request: Request, error: Exception) -> Response:
    """Answer a Refused as application/problem+json (RFC 9457)."""
    assert isinstance(error, Refused)  # noqa: S101 - starlette's type is wider than what it is called with
    body = {
        "type": f"urn:lineside:problem:{error.code}",
        "title": error.code.replace("-", " ").capitalize(),
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        **error.more,
    }
    return JSONResponse(body, error.status, error.headers, "application/problem+json")


async def read(request: Request, kind: type[M]) -> M:
    """Return the body as what is asked for; raises Refused 403, 408, 413, 415 or 422.

    Nothing is taken from a page in somebody's browser, which names its origin, whatever name it reached us by.
    """
    if "origin" in request.headers:
        raise Refused(403, "origin-foreign", "A page in a browser may not ask a simulator for anything.")
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Refused(415, "content-type-unsupported", f"Content-Type {media!r:.80} is not application/json.")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    close = {"Connection": "close"}
                    raise Refused(413, "body-too-large", f"The body has more than {MAX_BYTES} bytes.", headers=close)
    except TimeoutError:
        close = {"Connection": "close"}
        raise Refused(408, "body-timeout", f"The body did not end within {BODY_S:g} s.", headers=close) from None
    try:
        return kind.model_validate_json(bytes(body))
    except ValidationError as error:
        raise Refused(422, "body-invalid", "; ".join(_problems(error, kind))) from None


def _problems(error: ValidationError, kind: type[BaseModel]) -> list[str]:
    known = ", ".join(kind.model_fields)
    return [
        f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']} (got {item['input']!r:.80})"
        + (f"; known: {known}" if item["type"] == "extra_forbidden" else "")
        for item in error.errors()
    ]
